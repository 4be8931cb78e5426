"""The first signal saves or ends with code 75, the second one is the system's own."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from wrimnet.engine.signals import EXIT_CODE, StopRequest


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def number(request):
    return request.param


def test_before_training_it_ends_at_once_with_a_code_of_its_own(number):
    with pytest.raises(SystemExit) as ended, StopRequest():
        os.kill(os.getpid(), number)
    assert ended.value.code == EXIT_CODE == 75


def test_in_training_it_is_noted_and_nothing_ends(number, caplog):
    with StopRequest() as request, request.deferred():
        assert request.requested == ""
        os.kill(os.getpid(), number)
        assert request.requested == number.name


def test_second_signal_has_its_default_action(number):
    with StopRequest() as request, request.deferred():
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_DFL


def test_other_signal_that_comes_with_the_first_is_the_same_request(number):
    other = signal.SIGTERM if number == signal.SIGINT else signal.SIGINT
    with StopRequest() as request, request.deferred():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), other)
        assert request.requested == number.name
        assert signal.getsignal(other) is signal.SIG_DFL


def test_other_signal_later_ends_the_process(number, monkeypatch):
    ended, other = [], signal.SIGTERM if number == signal.SIGINT else signal.SIGINT
    with StopRequest() as request, request.deferred():
        os.kill(os.getpid(), number)
        monkeypatch.setattr("wrimnet.engine.signals.TOGETHER_SECONDS", -1.0)
        monkeypatch.setattr("wrimnet.engine.signals.os.kill", lambda _, sent: ended.append(sent))
        signal.raise_signal(other)
    assert ended == [other]


def test_another_thread_leaves_signals_as_they_are(number):
    before = signal.getsignal(number)

    def enter():
        with StopRequest() as request, request.deferred():
            return request.requested, signal.getsignal(number)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() == ("", before)
    assert signal.getsignal(number) is before


def test_handlers_are_restored(number):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest() as request, request.deferred():
        os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_after_training_it_ends_at_once_again(number):
    with pytest.raises(SystemExit), StopRequest() as request:
        with request.deferred():
            pass
        os.kill(os.getpid(), number)


def test_stop_ends_with_the_code():
    with pytest.raises(SystemExit) as ended:
        StopRequest().stop("saved")
    assert ended.value.code == EXIT_CODE
