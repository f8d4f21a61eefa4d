"""What a user may ask for: everything else is refused, by field."""

from pathlib import Path

import pytest
from rendering import USER, cluster_file

from launcher.clusters import (
    ClusterFile,
    LaunchRequest,
    UserAccounts,
    fields,
    options_from_form,
    parse_options,
)
from launcher.errors import InvalidOptions

EVERYTHING = ClusterFile.load(Path(__file__).parents[1] / "clusters/everything.yaml").cluster


@pytest.fixture
def tiny(tmp_path):
    """Return a function that makes a cluster of a few facts and those that it is given."""
    return lambda **facts: cluster_file(tmp_path, **facts).cluster


def parse(options, cluster=EVERYTHING, **more):
    return parse_options(cluster, options, user=USER, **more)


def errors(options, cluster=EVERYTHING, **more):
    with pytest.raises(InvalidOptions) as error:
        parse(options, cluster, **more)
    return error.value.fields


class TestDefaults:
    def test_no_options_ask_for_the_first_of_everything(self, tiny):
        assert parse({}, tiny()) == LaunchRequest(
            environment="host", partition="normal", time=60, nodes=1, start_directory="/home/alice"
        )

    def test_every_list_has_a_default(self):
        assert parse({}) == LaunchRequest(
            environment="prgenv",
            partition="normal",
            time=60,
            nodes=1,
            start_directory="/users/alice",
            image="prgenv-gnu/24.11:v1",
            view="default",
            constraint="mc",
            qos="standard",
            gpus=1,
            cpus=72,
            memory="16G",
        )

    @pytest.mark.parametrize("nothing", ["", None])
    def test_an_empty_field_takes_its_default(self, nothing):
        assert parse({field.name: nothing for field in fields(EVERYTHING, USER)}) == parse({})

    def test_the_default_time_fits_the_partition(self, tiny):
        assert parse({"partition": "debug"}, tiny()).time == 30
        assert parse({"partition": "debug"}).time == 60
        assert parse({"partition": "debug", "nodes": 4}).time == 15

    def test_a_default_time_may_be_below_every_choice_where_any_time_may_be_typed(self, tiny):
        cluster = tiny(times={"choices": [60], "maximum": 240})
        assert parse({"partition": "debug"}, cluster).time == 30

    def test_the_default_of_gpus_fits_the_partition(self):
        assert parse({"partition": "cpu"}).gpus == 0

    def test_what_was_asked_for_is_no_default_even_if_it_is_nothing(self):
        assert parse({"partition": "debug", "gpus": 0}).gpus == 0


class TestValues:
    def test_what_the_cluster_file_allows_is_taken(self):
        options = {
            "environment": "host",
            "partition": "debug",
            "time": 30,
            "nodes": 2,
            "account": "proj1",
            "start_directory": "scratch",
            "constraint": "gpu&nvme",
            "qos": "urgent",
            "gpus": 4,
            "cpus": 288,
            "memory": "512G",
            "reservation": "workshop",
        }
        request = parse(options)
        assert {name: getattr(request, name) for name in options} == options | {
            "start_directory": "/scratch/alice"
        }
        assert request.options == options

    def test_a_number_may_be_a_text_as_forms_send_it(self):
        assert parse({"time": "240", "nodes": "2", "gpus": "4", "cpus": "288"}) == parse(
            {"time": 240, "nodes": 2, "gpus": 4, "cpus": 288}
        )

    @pytest.mark.parametrize("value", ["normal ", "NORMAL", "normal\n", "xfer", 0, True, ["normal"], {}, []])
    def test_a_partition_that_the_cluster_file_does_not_name_is_refused(self, value):
        assert errors({"partition": value}) == {"partition": "must be one of normal, debug, cpu"}

    @pytest.mark.parametrize(
        "value", [61, "61", "60\n", "\uff16\uff10", "1e2", "+60", -60, 60.0, True, False]
    )
    def test_a_time_that_is_not_offered_is_refused(self, tiny, value):
        assert errors({"time": value}, tiny()) == {"time": "must be one of 15, 30, 60, 240 (minutes)"}

    @pytest.mark.parametrize("value", [0, 1, 721, "721", "60\n", "6 0", "\uff16\uff10", "-60", 60.0, True])
    def test_a_typed_time_is_a_whole_number_within_its_range(self, value):
        assert parse({"time": 61}).time == parse({"time": "061"}).time == 61
        assert errors({"time": value}) == {"time": "must be a whole number from 2 to 720"}

    def test_a_session_is_longer_than_the_warning_before_its_end(self, tiny):
        cluster = tiny(times={"choices": [60], "maximum": 240}, end_warning=300)
        assert parse({"time": 6}, cluster).time == 6
        assert errors({"time": 5}, cluster) == {"time": "must be a whole number from 6 to 240"}

    def test_so_many_nodes_that_no_time_is_left_are_refused(self, tiny):
        partitions = [{"name": "normal", "time_limit": 240, "max_node_minutes": 240}]
        cluster = tiny(partitions=partitions, max_nodes=200, times={"choices": [60], "maximum": 240})
        assert errors({"nodes": 130}, cluster) == {
            "nodes": "must be fewer: they leave less than 2 minutes in partition normal"
        }

    def test_a_boolean_is_no_time_even_where_one_minute_is_offered(self, tiny):
        cluster = tiny(times=[5, 60])
        assert parse({"time": 5}, cluster).time == 5
        assert set(errors({"time": True}, tiny(times=[1, 60], end_warning=30))) == {"time"}

    def test_an_unknown_option_is_refused_by_its_name(self, tiny):
        assert errors({"account": "proj1"}, tiny()) == {"account": "is not an option of this cluster"}

    def test_an_admins_value_is_no_option(self):
        for name in ("launcher", "template", "home", "ports", "node_addresses", "job_name", "mount"):
            assert errors({name: "x"}) == {name: "is not an option of this cluster"}

    def test_all_mistakes_come_at_once(self):
        assert set(errors({"partition": "gpu", "time": 0, "project": "x", "view": "a b"})) == {
            "partition",
            "time",
            "project",
            "view",
        }

    def test_an_options_name_came_from_outside_and_is_shown_without_harm(self):
        (name,) = errors({"\x1b[2J\n\u202e" + "x" * 1000: 1})
        assert name.isprintable()
        assert len(name) == 40

    def test_options_whose_names_are_no_texts_are_refused_like_any_other(self):
        assert set(errors({1: 2, None: 3, "": 4})) == {"int", "NoneType", "(no name)"}

    def test_not_every_unknown_name_is_told(self):
        assert len(errors({f"x{number}": 1 for number in range(1000)})) == 20

    @pytest.mark.parametrize("options", [None, [], ["partition"], "partition=debug", 1, True])
    def test_options_that_are_no_object_are_refused(self, options):
        assert errors(options) == {"": "options are an object of names and values"}


class TestLimits:
    def test_a_time_above_the_partitions_limit_is_refused(self, tiny):
        assert errors({"partition": "debug", "time": 60}, tiny()) == {
            "time": "must be at most 30 minutes in partition debug"
        }

    def test_more_nodes_make_shorter_sessions_where_a_partition_counts_node_hours(self):
        assert parse({"partition": "debug", "nodes": 3, "time": 30}).nodes == 3
        assert errors({"partition": "debug", "nodes": 4, "time": 30}) == {
            "time": "must be at most 22 minutes in partition debug on 4 nodes"
        }

    def test_nodes_are_limited_by_the_partition_and_by_the_cluster(self):
        assert errors({"partition": "debug", "nodes": 5}) == {"nodes": "must be at most 4 in partition debug"}
        assert errors({"nodes": 9}) == {"nodes": "must be a whole number from 1 to 8"}

    def test_gpus_are_limited_by_the_partition(self):
        assert errors({"partition": "cpu", "gpus": 1}) == {"gpus": "must be at most 0 in partition cpu"}


class TestFixed:
    """What the cluster file leaves no choice about."""

    def test_a_partition_has_its_own_constraint_qos_and_reservation(self, tiny):
        own = {"constraint": "gpu", "qos": "short", "reservation": "night"}
        partitions = [{"name": "normal", "time_limit": 240}, {"name": "debug", "time_limit": 240, **own}]
        cluster = tiny(partitions=partitions, constraint="mc", qos="long", reservation="day")
        usual, special = parse({}, cluster), parse({"partition": "debug"}, cluster)
        assert (usual.constraint, usual.qos, usual.reservation) == ("mc", "long", "day")
        assert (special.constraint, special.qos, special.reservation) == ("gpu", "short", "night")

    def test_the_only_value_may_be_given_but_no_other(self, tiny):
        cluster = tiny(accounts="site", gpus=4)
        assert parse({"account": "site", "gpus": 4}, cluster) == parse({}, cluster)
        assert errors({"account": "other", "gpus": 1}, cluster) == {
            "account": "must be site here",
            "gpus": "must be 4 here",
        }

    def test_it_is_not_remembered(self, tiny):
        assert set(parse({"account": "site"}, tiny(accounts="site")).options) == {"partition", "time"}


class TestEnvironments:
    def test_a_typed_uenv_needs_an_image_and_may_have_a_view(self):
        assert set(errors({"environment": "own"})) == {"uenv"}
        request = parse({"environment": "own", "uenv": "pytorch/v2.6:v1@daint%gh200", "view": "default"})
        assert (request.image, request.view) == ("pytorch/v2.6:v1@daint%gh200", "default")

    @pytest.mark.parametrize("path", ["/projects/a.squashfs", "/store/alice/x/y.squashfs"])
    def test_a_file_lies_below_a_root(self, path):
        assert parse({"environment": "own", "uenv": path}).image == path

    @pytest.mark.parametrize(
        "path", ["/projectsx/a", "/store/bob/a", "/store/alicex/a", "/store", "/etc/a", "/projects/../etc/a"]
    )
    def test_a_file_elsewhere_is_refused(self, path):
        assert set(errors({"environment": "own", "uenv": path})) == {"uenv"}

    def test_a_label_is_refused_where_only_files_may_be_named(self):
        assert errors({"environment": "files", "uenv": "pytorch"}) == {
            "uenv": "must be a file below /scratch/alice"
        }

    def test_a_container_may_be_typed_as_the_path_of_an_edf(self):
        assert parse({"environment": "container", "edf": "/projects/a.toml"}).edf == "/projects/a.toml"
        assert parse({"environment": "pytorch"}).edf == "pytorch"
        for wrong in ("a", "/projects/a", "/projects/a.yaml", "/etc/a.toml"):
            assert set(errors({"environment": "container", "edf": wrong})) == {"edf"}

    @pytest.mark.parametrize(
        ("environment", "option"),
        [("host", "uenv"), ("host", "view"), ("pytorch", "edf"), ("prgenv", "uenv"), ("file", "view")],
    )
    def test_what_belongs_to_another_environment_is_refused(self, environment, option):
        value = "/projects/a.toml" if option == "edf" else "a"
        assert errors({"environment": environment, option: value}) == {
            option: f"does not go with environment {environment}"
        }

    def test_a_typed_view_takes_the_place_of_the_files(self):
        assert parse({"view": "develop"}).view == "develop"
        assert parse({}).view == "default"


class TestStartDirectory:
    def test_home_and_scratch_are_the_users_own(self):
        assert parse({"start_directory": "home"}).start_directory == "/users/alice"
        assert parse({"start_directory": "scratch"}).start_directory == "/scratch/alice"

    @pytest.mark.parametrize("path", ["/projects", "/projects/a/b", "/store/alice"])
    def test_a_path_lies_below_a_root(self, path):
        assert parse({"start_directory": path}).start_directory == path

    @pytest.mark.parametrize(
        "path", ["/", "/store/bob", "/projects/..", "/store/{user}", "work", "/projectsx"]
    )
    def test_another_path_is_refused(self, path):
        assert set(errors({"start_directory": path})) == {"start_directory"}


class TestAccounts:
    KNOWN = UserAccounts(("proj1", "proj2"), default="proj2")

    def test_those_of_a_user_are_a_list(self):
        assert parse({"account": "proj1"}, accounts=self.KNOWN).account == "proj1"
        assert errors({"account": "proj3"}, accounts=self.KNOWN) == {"account": "must be one of proj1, proj2"}

    @pytest.mark.parametrize("accounts", [None, KNOWN])
    def test_slurm_takes_the_default_whether_they_are_known_or_not(self, accounts):
        assert parse({}, accounts=accounts) == parse({})
        assert parse({}, accounts=accounts).account is None

    @pytest.mark.parametrize("accounts", [None, UserAccounts(("proj1",)), KNOWN])
    def test_a_chosen_one_is_remembered_whether_they_are_known_or_not(self, accounts):
        assert parse({"account": "proj1"}, accounts=accounts).options["account"] == "proj1"

    @pytest.mark.parametrize("accounts", [None, UserAccounts(())])
    def test_while_they_are_not_known_any_name_is_left_to_slurm(self, accounts):
        assert parse({}, accounts=accounts).account is None
        assert parse({"account": "proj3"}, accounts=accounts).account == "proj3"
        assert set(errors({"account": "a b"}, accounts=accounts)) == {"account"}

    def test_the_cluster_file_may_list_them(self, tiny):
        cluster = tiny(accounts={"choices": ["a", "b"], "default": "b"})
        assert parse({}, cluster, accounts=self.KNOWN).account == "b"
        assert errors({"account": "proj1"}, cluster, accounts=self.KNOWN) == {
            "account": "must be one of a, b"
        }


class TestLinks:
    def test_a_link_chooses_what_the_cluster_file_lists(self):
        options = {"environment": "host", "partition": "debug", "time": 15}
        assert parse(options, from_link=True) == parse(options)

    def test_it_chooses_nothing_else(self):
        assert errors({"start_directory": "scratch", "time": 15}, from_link=True) == {
            "start_directory": "can't be chosen by a link; use the form"
        }

    def test_it_chooses_nothing_at_all_where_nothing_is_listed(self, tiny):
        assert set(errors({"time": 15}, tiny(), from_link=True)) == {"time"}


class TestAgain:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"environment": "own", "uenv": "a/b:c", "view": "d"},
            {"environment": "container", "edf": "/projects/a.toml", "reservation": "x"},
            {"partition": "debug", "gpus": 0, "nodes": 4, "time": "007", "start_directory": "/projects"},
            {"partition": "cpu", "memory": "512G"},
        ],
    )
    def test_what_led_to_a_request_leads_to_it_again(self, options):
        request = parse(options)
        again = parse(request.options)
        assert (again, again.options) == (request, request.options)


class TestForm:
    def test_a_submitted_form_has_a_list_for_each_field(self):
        form = {"partition": ["debug"], "time": ["30"]}
        assert options_from_form(form) == {"partition": "debug", "time": "30"}

    def test_the_pages_own_field_is_no_option(self):
        assert options_from_form({"_xsrf": ["2|abc"]}) == {}

    def test_a_field_that_came_twice_is_refused(self):
        options = options_from_form({"partition": ["normal", "debug"], "time": []})
        assert set(errors(options)) == {"partition", "time"}

    def test_an_upload_is_refused(self):
        options = options_from_form({"partition": [{"filename": "x", "body": b"normal"}]})
        assert set(errors(options)) == {"partition"}
