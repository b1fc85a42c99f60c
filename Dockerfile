# The page and the API in one container:
#
#   docker build -t digits .
#   docker run --rm -p 127.0.0.1:7860:7860 digits
#
# With --rm everything goes when it stops; to keep what is trained, uploaded and corrected, name
# volumes, and give answers under way their 20 s to end:
#
#   docker run --rm --stop-timeout 30 -p 127.0.0.1:7860:7860 -v digits-models:/app/models \
#     -v digits-feedback:/app/feedback -v digits-outputs:/app/outputs digits
#
# Published only on 127.0.0.1, because 0.0.0.0 inside the container is the network: changes are off
# there until DIGITS_ADMIN_TOKEN is set (docker run -e DIGITS_ADMIN_TOKEN=...).
FROM python:3.12-slim AS build

# Where PyTorch without CUDA comes from, a tenth of the size: the address that the selector on
# pytorch.org gives for CPU. Empty takes what the usual index has, CUDA included.
#   docker build --build-arg TORCH_INDEX=... -t digits .
ARG TORCH_INDEX=""

RUN python -m venv /venv
COPY requirements.txt .
RUN if [ -n "$TORCH_INDEX" ]; then \
      grep -E '^torch(vision)?==' requirements.txt > torch.txt && \
      /venv/bin/pip install --no-cache-dir --index-url "$TORCH_INDEX" -r torch.txt; \
    fi && \
    /venv/bin/pip install --no-cache-dir -r requirements.txt


FROM python:3.12-slim

RUN useradd --system --create-home --uid 10001 digits && \
    mkdir -p /app/feedback /app/outputs /app/data /app/predictions && \
    chown -R digits /app
COPY --from=build /venv /venv
WORKDIR /app
COPY --chown=digits . .
USER digits

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DIGITS_HOST=0.0.0.0 \
    DIGITS_PORT=7860 \
    DIGITS_ACCESS_LOG=1
EXPOSE 7860
# Whatever the program writes: corrections, training runs, data sets, networks, tables.
VOLUME ["/app/feedback", "/app/outputs", "/app/data", "/app/models", "/app/predictions"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['DIGITS_PORT'] + '/ready', timeout=4)"]
CMD ["python", "app.py"]
