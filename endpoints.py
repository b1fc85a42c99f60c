"""What programs may call on the page: two functions for `gradio_client`, and for MCP if asked for.

    Client("http://127.0.0.1:7860").predict(image=base64_text, api_name="/predict")

Pictures are taken as base64 or data URLs only: Gradio would also take paths and addresses, and
nobody is to make this server open files or fetch pages. Everything else that the page does is
private to it. For most programs the REST routes of `api.py` are simpler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoding import decode_base64
from errors import DigitError

if TYPE_CHECKING:
    from service import Service


def build_endpoints(service: Service) -> None:
    """Offer `/predict` and `/read`, inside the caller's `with gr.Blocks()`."""
    import gradio as gr

    # Gradio shows these docstrings to programs, and MCP to language models.
    def predict(image: str) -> dict[str, Any]:
        """Read the handwritten digit in a picture.

        Args:
            image: The file of a picture (PNG, JPEG, ...) as base64 text or a data URL.

        Returns
        -------
            The digit, its confidence, a verdict (ok, unsure, not a digit) and ten probabilities.
        """
        try:
            return service.predict(decode_base64(image, "image")).to_dict()
        except DigitError as error:
            raise _tell(service, error) from error

    def read(image: str) -> dict[str, Any]:
        """Read a number of several handwritten digits in a picture.

        Args:
            image: The file of a picture (PNG, JPEG, ...) as base64 text or a data URL.

        Returns
        -------
            The text, its lines, and for each digit a box and its confidence.
        """
        try:
            return service.read(decode_base64(image, "image")).to_dict()
        except DigitError as error:
            raise _tell(service, error) from error

    for function in (predict, read):
        gr.api(function, api_name=function.__name__, concurrency_limit=2)


def _tell(service: Service, error: DigitError) -> Exception:
    """Make the error whose text Gradio hands on to its clients."""
    import gradio as gr

    return gr.Error(service.tell(error), print_exception=False)
