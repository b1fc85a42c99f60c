"""What waits in the page's queue: no more events than can be answered soon, nor more bytes.

    event of the page, or of `gradio_client` -> room? -> Gradio's queue
                                                    | no
                                              503, come back later

The guard counts a body until its request is answered. Gradio answers at once and keeps the body
until its turn comes, in a queue that takes whatever is sent. (Tried with Gradio 6.31: 20 pictures
of 16 MB, for which nobody waited, made the server grow by 0.9 GB.)

    >>> bound_queue(page)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guards import size_of

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import Request

MAX_EVENTS = 64
MAX_BYTES = 128 * 2**20  # of all events together; a photograph of 20 MB has 27 on its way
FULL = "more waits for the page than can be answered soon; try again in a moment"


def bound_queue(page: gr.Blocks) -> None:
    """Let a page take an event only if there is room for it.

    Parameters
    ----------
    page : Blocks
        With everything on it.
    """
    # What has to wait for its turn could pass the queue by under /run, any number at a time.
    page.queue(api_open=False)
    queue = page._queue
    push = queue.push

    async def push_if_room(body: Any, request: Request, username: str | None) -> Any:
        lines = queue.event_queue_per_concurrency_id.values()
        waiting = [event for line in lines for event in line.queue]
        running = [event for events in queue.active_jobs if events for event in events]
        held = sum(size_of(event.request.scope) for event in waiting + running)
        if len(waiting) >= MAX_EVENTS or held + size_of(request.scope) > MAX_BYTES:
            return False, FULL, "queue_full"
        return await push(body=body, request=request, username=username)

    queue.push = push_if_room  # type: ignore[method-assign]
