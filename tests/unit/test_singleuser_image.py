"""Mounted images: what a job's environment and `meta/env.json` say of them, whoever wrote those."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from launcher.errors import PreflightFailed
from launcher.singleuser.image import loaded_views, mounted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VIEWS = st.dictionaries(
    st.text(max_size=5),
    JSON | st.fixed_dictionaries({"env": JSON | st.fixed_dictionaries({"values": JSON})}),
    max_size=3,
)
DESCRIPTION = JSON | st.fixed_dictionaries(
    {}, optional={"name": JSON, "default-view": JSON, "views": JSON | VIEWS, "mount": JSON}
)
ENTRY = st.text("/:,.ab\n", max_size=10) | st.just("/images/gnu.squashfs:MOUNT")


def view(**scalars):
    return {"env": {"version": 1, "type": "augment", "values": {"list": {}, "scalar": scalars}}}


@pytest.fixture
def image(tmp_path):
    """Return a function that makes the mount of an image with a description."""

    def image(name="gnu", described=None, text=None):
        mount = tmp_path / name
        (mount / "meta").mkdir(parents=True)
        (mount / "meta/env.json").write_text(json.dumps(described or {}) if text is None else text)
        return str(mount)

    return image


def session(*mounts, views=""):
    """Return the environment of a job that has images."""
    return {
        "UENV_MOUNT_LIST": ",".join(f"/images/{Path(mount).name}.squashfs:{mount}" for mount in mounts),
        "UENV_VIEW": views,
    }


class TestMounted:
    def test_an_image_is_described_by_itself(self, image):
        mount = image(
            described={"name": "prgenv-gnu", "default-view": "default", "views": {"default": view(IT="a")}}
        )
        (found,) = mounted(session(mount), {})
        assert (found.mount, found.label, found.name) == (mount, "prgenv-gnu", "prgenv-gnu")
        assert found.default_view == "default"
        assert found.views["default"].patch.applied({}) == {"IT": "a"}

    def test_people_call_it_by_its_label(self, image):
        mount = image(described={"name": "prgenv-gnu"})
        (found,) = mounted(session(mount), {mount: "prgenv-gnu/24.11:v1"})
        assert (found.label, found.name) == ("prgenv-gnu/24.11:v1", "prgenv-gnu")

    def test_one_without_a_description_is_called_as_its_file(self, tmp_path):
        (found,) = mounted({"UENV_MOUNT_LIST": f"/images/gnu.v1.squashfs:{tmp_path}"}, {})
        assert (found.name, found.views, found.default_view) == ("gnu", {}, "")

    def test_those_that_a_session_should_have_are_there_too(self, image, tmp_path):
        mount = image()
        found = mounted(session(mount), {f"{tmp_path}/tools": "tools", mount: "gnu"})
        assert [(each.mount, each.label) for each in found] == [
            (f"{tmp_path}/tools", "tools"),
            (mount, "gnu"),
        ]

    def test_a_default_view_that_it_does_not_have_is_none(self, image):
        for name, default in (("a", "none"), ("b", ["default"]), ("c", None)):
            mount = image(name, {"default-view": default, "views": {"default": view()}})
            assert mounted(session(mount), {})[0].default_view == ""

    def test_a_view_without_variables_is_one(self, image):
        mount = image(described={"views": {"a": {}, "b": {"env": None}, "c": {"env": {}}}})
        assert list(mounted(session(mount), {})[0].views) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "Expecting value"),
            ("[]", "not a JSON object"),
            ("[" * 100_000, "recursion"),
            ('{"views": ["default"]}', "views: not an object"),
            ('{"views": {"default": null}}', "view default: env.values: not an object"),
            (
                '{"views": {"default": {"env": {"values": {"scalar": {"A": "\\u0000"}}}}}}',
                "view default: A: ",
            ),
        ],
    )
    def test_a_description_that_can_not_be_used_is_named_with_the_image(self, image, text, why):
        mount = image(text=text)
        with pytest.raises(PreflightFailed) as failed:
            mounted(session(mount), {mount: "gnu/1:v1"})
        assert f"The description of the image gnu/1:v1 can't be used: {mount}/meta/env.json." in str(
            failed.value
        )
        assert why in str(failed.value)

    def test_so_is_one_that_can_not_be_read(self, tmp_path):
        (tmp_path / "meta/env.json").mkdir(parents=True)
        with pytest.raises(PreflightFailed, match="Is a directory"):
            mounted(session(str(tmp_path)), {})


class TestLoadedViews:
    @pytest.fixture
    def images(self, image):
        """Return the images of a session with tools of its own."""
        mounts = [
            image(
                name,
                {"default-view": default, "views": {each: view(IT=each) for each in ("a", "b", default)}},
            )
            for name, default in (("user-tools", "jupyter"), ("user-environment", "default"))
        ]
        return mounted(session(*mounts), {})

    def names(self, images, views="", own="/usr"):
        found = loaded_views(images, {"UENV_VIEW": views}, own)
        return [(Path(each.mount).name, each.name) for each in found]

    def test_they_are_those_that_uenv_was_told_in_their_order(self, images):
        tools, user = (image.mount for image in images)
        views = f"{user}:gnu:b,{tools}:jupyterlab:a,{user}:gnu:a"
        assert self.names(images, views) == [
            ("user-environment", "b"),
            ("user-tools", "a"),
            ("user-environment", "a"),
        ]

    def test_without_any_they_are_the_default_ones(self, images):
        assert self.names(images) == [("user-tools", "jupyter"), ("user-environment", "default")]

    def test_the_image_that_holds_the_server_brings_none_by_itself(self, images):
        assert self.names(images, own=f"{images[0].mount}/env/jupyter") == [("user-environment", "default")]

    def test_one_of_an_image_that_is_not_there_does_not_count(self, images):
        assert self.names(images, f"{images[1].mount}-2:gnu:a") == self.names(images)

    def test_one_that_an_image_does_not_have_is_named(self, images):
        with pytest.raises(PreflightFailed) as failed:
            self.names(images, f"{images[1].mount}:gnu:develop")
        assert str(failed.value).splitlines()[:2] == [
            "The image user-environment has no view develop.",
            "It has a, b, default.",
        ]


class TestHostile:
    """An image is anybody's, and a job's environment is its user's: they can end a start, and no more."""

    @given(DESCRIPTION)
    @example({"views": {"a": {"env": []}}})
    @example({"views": {"a": {"env": {"values": {"list": {"A=B": [{"op": "set", "value": ["\0"]}]}}}}}})
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_an_image_says_of_itself(self, tmp_path, described):
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / "meta/env.json").write_text(json.dumps(described))
        environment = {"UENV_MOUNT_LIST": f"/images/a.squashfs:{tmp_path}"}
        try:
            images = mounted(environment, {})
            views = [*images[0].views.values(), *loaded_views(images, environment, "/usr")]
        except PreflightFailed:
            return
        for each in views:
            for name, value in each.patch.applied({}).items():
                assert "=" not in name
                assert b"\0" not in os.fsencode(value)

    @given(st.binary(max_size=20))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_bytes_it_has_in_place_of_a_description(self, tmp_path, text):
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / "meta/env.json").write_bytes(text)
        try:
            mounted({}, {str(tmp_path): "label"})
        except PreflightFailed:
            return

    @given(st.lists(ENTRY, max_size=4), st.lists(ENTRY, max_size=4))
    @example(["/images/gnu.squashfs:MOUNT"], ["MOUNT"])
    @example(["/images/gnu.squashfs:MOUNT"], ["MOUNT:", "MOUNT::", "MOUNT:gnu:none"])
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_a_job_was_told_of_mounts_and_views(self, tmp_path, mounts, views):
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / "meta/env.json").write_text(json.dumps({"views": {"default": view()}}))
        environment = {
            "UENV_MOUNT_LIST": ",".join(mounts).replace("MOUNT", str(tmp_path)),
            "UENV_VIEW": ",".join(views).replace("MOUNT", str(tmp_path)),
        }
        try:
            images = mounted(environment, {"/user-tools": "tools"})
            loaded_views(images, environment, "/usr")
        except PreflightFailed:
            return
        assert all(each.mount.startswith("/") for each in images)
