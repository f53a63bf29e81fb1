"""Work in chunks: the numbers come in order, a watcher sees each chunk and may end it, in its own thread only."""

import threading

import pytest
import torch

from helpers import attribution
from helpers.attribution.progress import in_chunks, watching
from nets import Tiny, pictures
from test_contract import Odd, assert_same, state

X = torch.zeros(1, 3, 8, 8)
SLOW = {
    "RISE": lambda net, x: attribution.rise(net, x, 1, samples=6, chunk=2),
    "occlusion": lambda net, x: attribution.occlusion(net, x, 1, patch=8, stride=8, chunk=8),
    "SmoothGrad": lambda net, x: attribution.smooth_grad(net, x, 1, samples=4, chunk=2),
    "Integrated gradients": lambda net, x: attribution.integrated_gradients(net, x, 1, steps=4, chunk=2),
    "Score-CAM": lambda net, x: attribution.score_cam(net, x, 1, layer="conv2", chunk=2),
    "Ablation-CAM": lambda net, x: attribution.ablation_cam(net, x, 1, layer="conv2", chunk=2),
}


class Enough(Exception):
    """What a watcher raises."""


@pytest.mark.parametrize(("total", "chunk", "sizes"), [(5, 2, [2, 2, 1]), (4, 9, [4]), (250, None, [84, 83, 83])])
def test_the_numbers_in_order(total, chunk, sizes):
    chunks = list(in_chunks(total, chunk, "work", X))
    assert [len(numbers) for numbers in chunks] == sizes
    assert torch.cat(chunks).tolist() == list(range(total))


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True, "2"])
def test_a_chunk_that_cannot_be(chunk):
    with pytest.raises(ValueError, match="how many pictures may go through the network at once"):
        list(in_chunks(4, chunk, "work", X))


@pytest.mark.parametrize("method", SLOW.values(), ids=SLOW)
def test_a_watcher_sees_every_chunk_and_changes_nothing(method):
    seen, x = [], pictures(1)
    with watching(lambda *step: seen.append(step)):
        watched = method(Tiny(), x)
    torch.testing.assert_close(watched, method(Tiny(), x), rtol=0, atol=0)
    *_, (done, total, what) = seen
    assert done == total > 1
    of_work = [step[0] for step in seen if step[2] == what and step[1] == total]
    assert len(of_work) > 1 and of_work == sorted(of_work)


@pytest.mark.parametrize("method", SLOW.values(), ids=SLOW)
def test_work_that_is_stopped_leaves_nothing_behind(method):
    net, x, seen = Odd(), pictures(1), []
    before = state(net)

    def step(done, total, what):
        seen.append(done)
        if total > 1 and done < total:
            raise Enough

    with watching(step), pytest.raises(Enough):
        method(net, x)
    assert_same(before, state(net))
    count = len(seen)
    method(net, x)  # and the watcher is gone
    assert len(seen) == count


def test_a_watcher_is_of_its_own_thread_and_the_inner_one_counts():
    outer, inner = [], []
    with watching(lambda *step: outer.append(step)):
        thread = threading.Thread(target=lambda: list(in_chunks(4, 2, "elsewhere", X)))
        thread.start()
        thread.join()
        with watching(lambda *step: inner.append(step)):
            list(in_chunks(4, 2, "inner", X))
        list(in_chunks(2, 2, "outer", X))
    assert inner == [(2, 4, "inner"), (4, 4, "inner")] and outer == [(2, 2, "outer")]
