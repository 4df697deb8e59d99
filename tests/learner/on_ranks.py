"""Runs a function on several ranks: processes of this machine that speak over the loopback."""

import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

WAIT_S = 240.0
_PRELOADED = ["rlef.learner.sharding", "rlef.learner.sharded_files", "peft", "hand_batch"]


def on_ranks(size: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """Calls ``work(ranks, *args)`` on each rank; returns what each returned, of plain objects.

    Raises:
        AssertionError: A rank raised, with its traceback.
    """
    context = multiprocessing.get_context("forkserver")  # imports once, then forks
    context.set_forkserver_preload(_PRELOADED)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_rank, args=(rank, size, address, pipes[rank][1], work, args))
        for rank in range(size)
    ]
    try:
        for process in processes:
            process.start()
        for _, ours in pipes:
            ours.close()
        return [_answer(pipe) for pipe, _ in pipes]
    finally:
        for process in processes:
            process.join(timeout=0 if process.exitcode is None else 5)
            process.kill()
            process.join()


def _answer(pipe: Any) -> Any:
    assert pipe.poll(WAIT_S), f"a rank has not answered for {WAIT_S} s"
    good, answer = pipe.recv()
    assert good, answer
    return torch.load(io.BytesIO(answer), weights_only=False)


def _rank(
    rank: int, size: int, address: str, pipe: Any, work: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    from rlef.learner.ranks import open_ranks

    try:
        ranks = open_ranks(rank, size, address, timeout_s=WAIT_S)
        answer = work(ranks, *args)
        ranks.close()
        buffer = io.BytesIO()  # pickled by multiprocessing, tensors would end with this process
        torch.save(answer, buffer)
        pipe.send((True, buffer.getvalue()))
    except BaseException:
        pipe.send((False, f"rank {rank}: {traceback.format_exc()}"))
