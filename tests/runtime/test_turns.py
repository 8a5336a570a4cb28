"""Turns: a waiting engine gets the lock before a writer that would take it again, and nobody is locked out."""

from threading import Event, Thread

from gossipsync.runtime.turns import EngineTurn


def test_the_engine_goes_before_a_writer_that_comes_again() -> None:
    turn = EngineTurn()
    order: list[str] = []
    has_lock, is_asked = Event(), Event()

    def engine() -> None:
        is_asked.set()
        with turn:
            order.append("engine")
            has_lock.set()

    thread = Thread(target=engine)
    with turn.lock:
        thread.start()
        is_asked.wait()
    while not order:  # a writer's loop: it gives the lock back and wants it again at once
        turn.let_pass()
        with turn.lock:
            pass
    order.append("writer")
    assert has_lock.wait(5)
    thread.join()
    assert order == ["engine", "writer"]


def test_a_writer_that_holds_the_lock_is_not_locked_out() -> None:
    turn = EngineTurn()
    is_done = Event()

    def engine() -> None:
        with turn:
            is_done.set()

    thread = Thread(target=engine)
    with turn.lock:
        thread.start()
        for _ in range(5):
            turn.let_pass()  # the engine waits for the lock that we hold: this must end
        assert not is_done.is_set()
    assert is_done.wait(5)
    thread.join()


def test_the_engine_may_take_its_turn_within_its_turn() -> None:
    turn = EngineTurn()
    with turn, turn:
        turn.let_pass()
    assert turn.lock.acquire(blocking=False)
    turn.lock.release()
