#!/bin/sh
# `launcher` in a session: the server's own Python, whatever the user's environment has for others.
unset LD_LIBRARY_PATH LD_PRELOAD
exec "${LAUNCHER_PYTHON:?is not set: this is no terminal of a session}" -I -m launcher "$@"
