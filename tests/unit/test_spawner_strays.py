"""Strays: jobs of this very hub that no launch wants. Nobody else's job is ever touched."""

import asyncio
from types import SimpleNamespace

import jwt
import pytest
from jupyterhub import orm
from jupyterhub.utils import utcnow
from stand_in import CLUSTER, LATE, LOG, Person, Slurm, database, gone, jobs, launch, script

from launcher.database.launch_record import Phase
from launcher.errors import FirecrestError
from launcher.firecrest import Watcher
from launcher.firecrest.tokens import has_fresh_token
from launcher.protocol import new_launch_id
from launcher.spawner.strays import Strays

pytestmark = pytest.mark.usefixtures("virtual_time")

SECRET, ANOTHERS = b"s" * 32, b"t" * 32
GRACE = 600


class User(Person):
    """A user of the hub, who is also their own identity.

    Attributes:
        logged_in: Whether their token is good.
    """

    logged_in = True

    async def get_auth_state(self):
        return {"access_token": jwt.encode({"exp": 4_000_000_000}, "k" * 32)} if self.logged_in else None


class Hub:
    """A hub with two users, one cluster, and what looks for its strays."""

    def __init__(self, slurm, *, cancel=True, service=False):
        self.slurm = slurm
        self.db = database()
        self.people = {name: User(name) for name in ("alice", "bob")}
        for name in self.people:
            self.db.add(orm.User(name=name, last_activity=utcnow(with_tz=False)))
        self.db.commit()
        self.service = Person("service account", everybody=True) if service else None
        self.watcher = Watcher(slurm, self.service or self.people["alice"], LOG)
        self.access = SimpleNamespace(
            service=self.service,
            jobs=lambda _, user: jobs(slurm, user, self.service, watcher=self.watcher),
            firecrest=lambda _: slurm,
            identity=lambda user: user,
            hub_user=lambda name: name,
            is_fresh=has_fresh_token,
        )
        self.strays = Strays(
            SimpleNamespace(
                tornado_settings={"cookie_secret": SECRET}, db=self.db, users=UserDict(self.people)
            ),
            self.access,
            lambda: [CLUSTER],
            LOG,
            cancel=cancel,
            grace=GRACE,
        )

    def close(self):
        gone(self.db)

    def knows(self, **facts):
        """Return a launch that this hub knows."""
        return self.strays._launches.add(launch(launch_id=new_launch_id(SECRET), **facts))

    def listed(self, who=None):
        """Have somebody's list told, as the watcher does."""
        who = who or self.service or self.people["alice"]
        seen = {
            job_id: status
            for job_id, status in self.slurm.jobs_by_id.items()
            if who.everybody or status.user == who.name
        }
        self.strays.listed(CLUSTER, who, seen)


class UserDict(dict):
    """JupyterHub's users: by name, or by their row in the database."""

    def __getitem__(self, key):
        return super().__getitem__(getattr(key, "name", key))


def unknown(secret=SECRET):
    """Return the script of a launch that the hub does not know."""
    return script(launch(launch_id=new_launch_id(secret)))


@pytest.fixture
def slurm():
    return Slurm()


@pytest.fixture
def make(slurm):
    made = []

    def make_hub(**more):
        made.append(Hub(slurm, **more))
        return made[-1]

    yield make_hub
    for each in made:
        each.close()


@pytest.fixture(params=[False, True], ids=["by its owner", "by the service account"])
def hub(make, request):
    return make(service=request.param)


class TestCancelled:
    async def test_a_job_of_a_launch_that_nobody_knows_is_cancelled_after_the_grace(self, slurm, hub):
        stray = slurm.add(unknown(), state="RUNNING")
        hub.listed()
        await asyncio.sleep(GRACE - 10)
        assert slurm.cancelled == []
        await asyncio.sleep(20)
        assert slurm.cancelled == [("alice", stray)]

    async def test_a_second_job_of_a_launch_too(self, slurm, hub):
        kept = slurm.add(state="RUNNING")
        known = hub.knows(job_id=kept, phase=Phase.READY)
        slurm.scripts[kept] = script(known)
        second = slurm.add(script(known), state="RUNNING")
        hub.listed()
        await asyncio.sleep(GRACE + 10)
        assert slurm.cancelled == [("alice", second)]

    async def test_once_though_it_is_listed_again_and_again(self, slurm, hub):
        slurm.add(unknown(), state="RUNNING")
        slurm.ends_on_cancel = False
        for _ in range(100):
            hub.listed()
            await asyncio.sleep(30)
        assert len(slurm.cancelled) == 1
        assert slurm.calls["mark"] == 3

    async def test_one_that_ended_meanwhile_is_not(self, slurm, hub):
        stray = slurm.add(unknown(), state="RUNNING")
        hub.listed()
        await asyncio.sleep(60)
        slurm.enters(stray, "COMPLETED")
        await asyncio.sleep(GRACE)
        assert slurm.cancelled == []

    async def test_one_whose_owner_can_not_be_asked_is_looked_at_again_later(self, slurm, hub):
        stray = slurm.add(unknown(), state="RUNNING")
        slurm.errors["mark"] = LATE
        for _ in range(3):
            hub.listed()
            await asyncio.sleep(GRACE + 10)
        assert slurm.cancelled == []
        slurm.errors.clear()
        hub.listed()
        await asyncio.sleep(GRACE + 10)
        assert slurm.cancelled == [("alice", stray)]


class TestLeftAlone:
    async def left_alone(self, slurm, hub):
        for _ in range(5):
            hub.listed()
            await asyncio.sleep(GRACE + 10)
        assert slurm.cancelled == []

    @pytest.mark.parametrize("phase", [Phase.SUBMITTED, Phase.CLAIMED, Phase.READY, Phase.ENDING])
    async def test_a_job_that_a_launch_names_and_it_costs_nothing(self, slurm, hub, phase):
        job_id = slurm.add(state="RUNNING")
        slurm.scripts[job_id] = script(hub.knows(job_id=job_id, phase=phase))
        await self.left_alone(slurm, hub)
        assert slurm.calls.total() == 0

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "#!/bin/bash\n",
            "#!/bin/bash\n#SBATCH --nodes=1\n",
            "#!/bin/bash\n# launch \n",
            "#!/bin/bash\n# launch " + "c" * 32,
            "#!/bin/bash\n# launched " + new_launch_id(SECRET),
            "#!/bin/bash\n\n# launch " + new_launch_id(SECRET),
            unknown(ANOTHERS),
        ],
        ids="empty,no mark,a directive,no id,an id of nobody,another word,another line,of another hub".split(
            ","
        ),
    )
    async def test_a_job_without_the_mark_of_this_hub(self, slurm, hub, text):
        """Whatever it is called: several hubs may share a cluster, and users name their jobs as they like."""
        slurm.add(text, state="RUNNING")
        await self.left_alone(slurm, hub)

    async def test_a_job_whose_script_its_alleged_owner_can_not_read(self, slurm, make):
        hub = make(service=True)
        slurm.add(unknown(), user="mallory", state="RUNNING")
        slurm.add(unknown(), user="", state="RUNNING")
        await self.left_alone(slurm, hub)
        assert slurm.calls.total() == 0

    async def test_a_job_whose_submit_is_being_answered(self, slurm, hub):
        slurm.add(script(hub.knows()), state="PENDING")
        await self.left_alone(slurm, hub)
        assert slurm.calls.total() == 0

    async def test_a_job_that_a_launch_was_found_to_own_in_time(self, slurm, hub):
        """The hub was restored from a copy, and its records came back."""
        known = launch(launch_id=new_launch_id(SECRET))
        job_id = slurm.add(script(known), state="RUNNING")
        hub.listed()
        await asyncio.sleep(GRACE / 2)
        known.record.job_id = job_id
        hub.strays._launches.add(known)
        await self.left_alone(slurm, hub)

    async def test_everything_where_strays_are_only_reported(self, slurm, make, caplog):
        hub = make(cancel=False)
        slurm.add(unknown(), state="RUNNING")
        await self.left_alone(slurm, hub)
        assert "Job 1 of alice on tiny is one that no launch wants" in caplog.text

    async def test_without_the_owners_token_what_they_may_not_cancel(self, slurm, hub):
        slurm.add(unknown(), state="RUNNING")
        slurm.errors["mark"] = FirecrestError("Your log-in has expired.", status=401)
        await self.left_alone(slurm, hub)


class TestLookedFor:
    async def watched(self, hub, seconds):
        task = asyncio.create_task(hub.strays.watch())
        await asyncio.sleep(seconds)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})

    async def test_when_the_hub_starts(self, slurm, hub):
        stray = slurm.add(unknown(), state="RUNNING")
        await self.watched(hub, GRACE + 60)
        assert slurm.cancelled == [("alice", stray)]

    async def test_of_everybody_who_was_there_of_late(self, slurm, hub):
        slurm.add(unknown(), state="RUNNING", user="bob")
        await self.watched(hub, GRACE + 60)
        assert slurm.cancelled == [("bob", "1")]

    async def test_but_not_by_renewing_a_log_in(self, slurm, make):
        hub = make()
        hub.people["alice"].logged_in = False
        await self.watched(hub, 60)
        assert slurm.calls["jobs"] == 1

    async def test_nothing_is_asked_once_there_is_no_more_reason_to(self, slurm, hub):
        await self.watched(hub, 3 * 3600)
        each = 1 if hub.service else 2
        assert slurm.calls["jobs"] <= 2 * each
        assert slurm.calls["jobs"] == slurm.calls.total()

    async def test_a_submit_without_an_answer_is_a_reason(self, slurm, hub):
        task = asyncio.create_task(hub.strays.watch())
        await asyncio.sleep(3 * 3600)
        before = slurm.calls["jobs"]
        hub.strays.suspect(hub.people["alice"])
        await asyncio.sleep(3600)
        assert slurm.calls["jobs"] > before
        task.cancel()

    async def test_a_firecrest_that_is_down_does_not_end_it(self, slurm, hub):
        slurm.errors["all"] = LATE
        asyncio.get_running_loop().call_later(1800, slurm.errors.clear)
        slurm.add(unknown(), state="RUNNING")
        await self.watched(hub, 1800 + 660 + GRACE + 60)
        assert slurm.alive == []
