"""What schemathesis has to know about Tidewire that its description cannot say."""

import schemathesis

# Long enough that a claim does wait and is woken or answered empty, short enough for hundreds of them.
LONGEST_WAIT_SECONDS = 1
# The contract's own bound: what lies above it is bad input, and stays as it was generated.
PERMITTED_WAIT_SECONDS = 60


@schemathesis.hook
def before_call(context, case, kwargs):
    """Shorten the long polls: a claim, a read of a thread, and one of agents' demand may ask to be held open for a minute."""
    if isinstance(case.body, dict):
        shorten(case.body, "wait_seconds")
    if case.query:
        shorten(case.query, "wait")
        shorten(case.query, "wait_seconds")


def shorten(values, name):
    try:
        wait = float(values[name])
    except (KeyError, TypeError, ValueError):
        return
    if not isinstance(values[name], bool) and LONGEST_WAIT_SECONDS < wait <= PERMITTED_WAIT_SECONDS:
        values[name] = LONGEST_WAIT_SECONDS
