"""An Actor behind an endpoint: no answer is one that cannot be read, and is counted."""

import asyncio
from types import SimpleNamespace

import numpy as np

from scenes.dialogues.general import General
from serving.endpoint.openai_api import EndpointError
from serving.endpoint.teacher import Teacher


def test_a_teacher_that_does_not_answer_is_counted():
    async def gone(_text, _image):
        raise EndpointError("500: out of order", permanent=True)

    def run(jobs):
        return [asyncio.run(job(gone)) for job in jobs]

    replacing = Teacher(SimpleNamespace(run=run), General(), None)
    ((answer,),) = replacing.reflect([np.zeros((8, 8, 3), np.uint8)], ["fix?"], temperature=0.0, seeds=[1])
    assert answer.reflection is None
    assert replacing.failures == {"500: out of order": 1}
