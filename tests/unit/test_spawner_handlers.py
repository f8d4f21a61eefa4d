"""The two messages of a job, while something else happens to its launch."""

from http import HTTPStatus
from types import SimpleNamespace

import pytest
from claims import ANSWER
from stand_in import LOG, database, gone, launch
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from launcher.database.launch_record import Phase
from launcher.protocol import (
    CLAIM_PATH,
    Claim,
    encode,
    new_nonce,
    new_ticket,
    parse_claim_answer,
    parse_refusal,
    ticket_hash,
)
from launcher.spawner.handlers import HANDLERS
from launcher.spawner.launches import Launches


class Owner:
    """A launch's spawner; something may happen while it saves a claim."""

    def __init__(self, happens):
        self.happens = happens

    async def claimed(self, launch, claim, launch_key):
        self.happens(launch)
        return ANSWER


@pytest.fixture
def session():
    session = database()
    yield session
    gone(session)


async def claimed(session, happens):
    """Claim a launch; return the answer."""
    ticket = new_ticket()
    submitted = launch(phase=Phase.SUBMITTED, ticket_hash=ticket_hash(ticket))
    submitted.spawner = Owner(happens)
    users = SimpleNamespace(settings={})
    Launches.of(users.settings, session).add(submitted)
    application = Application(HANDLERS, users=users, db=session, cookie_secret=b"secret", log=LOG)
    socket, port = bind_unused_port(address="127.0.0.1")
    server = HTTPServer(application)
    server.add_socket(socket)
    claim = encode(Claim(ticket, new_nonce(), "7", "nid001", "6.1.1"))
    try:
        return await AsyncHTTPClient().fetch(
            f"http://127.0.0.1:{port}/api/{CLAIM_PATH}", method="POST", body=claim, raise_error=False
        )
    finally:
        server.stop()
        await server.close_all_connections()


async def test_a_claim_is_answered_with_what_the_job_needs(session):
    answer = await claimed(session, lambda _: None)
    assert answer.code == HTTPStatus.OK
    assert parse_claim_answer(answer.body) == ANSWER


async def test_one_whose_launch_is_stopped_while_it_is_saved_ends_the_job(session):
    answer = await claimed(session, lambda launch: launch.enter(Phase.ENDING))
    assert answer.code == HTTPStatus.GONE
    assert "it was stopped" in parse_refusal(answer.body)
