"""Train on Kaggle's digit-recognizer: python examples/train_on_kaggle.py train.csv [epochs].

The network becomes models/kaggle.pth, and replaces an older one only with --replace.
What Kaggle wants for its test.csv is then written by
`python batch_processor.py test.csv --model kaggle --format submission`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the project's files are

from dataset import load_kaggle
from errors import DigitError
from learner import build_learner
from recipes import RECIPES, Settings
from registry import MODELS_DIR, save_checkpoint
from runs import measure
from utils import pick_device, set_seed

words = [word for word in sys.argv[1:] if word != "--replace"]
table = Path(words[0] if words else "train.csv")
epochs = words[1] if len(words) > 1 else "6"
target = MODELS_DIR / "kaggle.pth"
if not (epochs.isdecimal() and int(epochs)):
    sys.exit(f"error: {epochs!r} epochs cannot be trained: give a number from 1 on")
try:
    digits = load_kaggle(table)
except DigitError as error:  # not there, or not Kaggle's: the message says what is wrong
    sys.exit(f"error: {error}")
if digits.labels is None:
    sys.exit(f"error: {table} does not say which digits it shows: take Kaggle's train.csv")
if target.exists() and "--replace" not in sys.argv:
    sys.exit(f"error: there is a model in {target} already: say --replace to train another there")
settings = Settings(**RECIPES["fast"] | {"epochs": int(epochs)})
set_seed(settings.seed)
device = pick_device()
held_out = len(digits) // 10  # Kaggle's file is in no order
validation, training = digits.take(slice(held_out)), digits.take(slice(held_out, None)).to(device)

learner = build_learner(settings, device, MODELS_DIR)
for epoch in range(1, settings.epochs + 1):
    seen = learner.learn(training, epoch)
    score = measure(learner.result, validation)
    print(f"epoch {epoch}: {seen.accuracy:.2%} in training, {score.accuracy:.2%} of the held out")
metrics = {"validation_accuracy": score.accuracy, "validation_loss": score.loss}
save_checkpoint(target, learner.result, metrics=metrics)
