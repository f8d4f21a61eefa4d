"""What a sandbox's JupyterHub does otherwise than the demo's."""

from launcher.sandbox.hub_options import traits


def test_a_hub_with_another_spawner_has_that_spawners_traits():
    options = {
        "jupyterhub": {"spawner_class": "batchspawner.SlurmSpawner"},
        "classes": {"SlurmSpawner": {"req_srun": ""}},
    }
    found = traits(options, url="http://127.0.0.1:8000/", api_token="")
    assert found["JupyterHub"] == {"spawner_class": "batchspawner.SlurmSpawner"}
    assert found["SlurmSpawner"] == {"req_srun": ""}
