"""Short words for episodes, and a strategy that draws them."""

from hypothesis import strategies as st

from rlef.environment.types import EpisodeRecord, StopReason, TurnRecord
from rlef.sandbox.types import Verdict

AC, WA, RE, TLE, IE = Verdict.AC, Verdict.WA, Verdict.RE, Verdict.TLE, Verdict.IE


def turn(program: str | None, *verdicts: Verdict, response: str | None = None) -> TurnRecord:
    answer = response if response is not None else f"<{program}>" if program else "no"
    return TurnRecord(response=answer, program=program, public_verdicts=verdicts, feedback=None)


def episode(problem: str, *turns: TurnRecord, solved: bool = False) -> EpisodeRecord:
    is_public = bool(turns) and set(turns[-1].public_verdicts) == {AC}
    return EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=None,
        turns=turns,
        stop=StopReason.PUBLIC_PASSED if is_public else StopReason.TURN_LIMIT,
        solved=solved,
        final_verdict=AC if solved else WA,
    )


def solved(problem: str, turns: int = 1) -> EpisodeRecord:
    """Solved in the last of so many turns."""
    return episode(problem, *[turn("p", WA)] * (turns - 1), turn("p", AC), solved=True)


def false_friend(problem: str, turns: int = 1) -> EpisodeRecord:
    """Passes the public tests in the last of so many turns, but not the private ones."""
    return episode(problem, *[turn("p", WA)] * (turns - 1), turn("p", AC))


def failed(problem: str, turns: int = 1) -> EpisodeRecord:
    return episode(problem, *[turn("p", WA)] * turns)


def infra(problem: str) -> EpisodeRecord:
    return EpisodeRecord(
        problem=problem,
        family=None,
        hidden_detail=None,
        turns=(turn("p", IE),),
        stop=StopReason.INFRA_ERROR,
        solved=False,
        final_verdict=IE,
    )


def episodes_of(
    problem: str, count: int, turn_limit: int
) -> st.SearchStrategy[list[EpisodeRecord]]:
    """So many episodes of one problem."""
    length = st.integers(1, turn_limit)
    ended = st.one_of(
        length.map(lambda turns: solved(problem, turns)),
        length.map(lambda turns: false_friend(problem, turns)),
        st.just(failed(problem, turn_limit)),
    )
    return st.lists(ended, min_size=count, max_size=count)


def runs(
    problems: int = 4, samples: int = 4, turn_limit: int = 3
) -> st.SearchStrategy[list[EpisodeRecord]]:
    """Episodes of several problems, equally many of each."""
    return st.tuples(st.integers(1, problems), st.integers(1, samples)).flatmap(
        lambda size: st.tuples(
            *(episodes_of(f"problem {i}", size[1], turn_limit) for i in range(size[0]))
        ).map(lambda groups: [record for group in groups for record in group])
    )
