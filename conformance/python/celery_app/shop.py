"""A Celery application as a user would write it, for `test_celery.py` and the workers it starts.

Workers take their settings from the environment variable CELERY_SETTINGS, as JSON, since they run
as processes of their own: `celery --app celery_app.shop worker`.
"""

import json
import os
import time
from pathlib import Path

from celery import Celery


class Unlucky(Exception):
    """What goes wrong for a while."""


def make_app(settings):
    """The application with its tasks; not the current one, so that there may be several."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(settings)

    @app.task(shared=False, name="add")
    def add(x, y):
        return x + y

    @app.task(shared=False, name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(shared=False, name="fail")
    def fail(text):
        raise ValueError(text)

    @app.task(shared=False, name="now")
    def now():
        return time.time()

    @app.task(
        shared=False, name="third_time_lucky", bind=True, autoretry_for=(Unlucky,), max_retries=5, default_retry_delay=0.2
    )
    def third_time_lucky(self):
        if self.request.retries < 2:
            raise Unlucky(f"attempt {self.request.retries}")
        return self.request.retries

    @app.task(shared=False, name="never_lucky", bind=True, max_retries=2)
    def never_lucky(self):
        raise self.retry(countdown=0.1, exc=Unlucky("never"))

    @app.task(shared=False, name="write_down")
    def write_down(path, line):
        """Leaves a line, so that order and number of the runs can be seen."""
        with Path(path).open("a") as file:
            file.write(f"{line}\n")

    @app.task(shared=False, name="write_down_slowly")
    def write_down_slowly(path, line, seconds):
        """Leaves a line when it begins, and another when it is through."""
        with Path(path).open("a") as file:
            file.write(f"begin {line}\n")
        time.sleep(seconds)
        with Path(path).open("a") as file:
            file.write(f"end {line}\n")

    return app


if "CELERY_SETTINGS" in os.environ:
    app = make_app(json.loads(os.environ["CELERY_SETTINGS"]))
