"""What schemathesis has to know about Tidewire that its description cannot say."""

import schemathesis

# Long enough that a claim does wait and is woken or answered empty, short enough for hundreds of them.
LONGEST_WAIT_SECONDS = 1
# The contract's own bound: what lies above it is bad input, and stays as it was generated.
PERMITTED_WAIT_SECONDS = 60


@schemathesis.hook
def before_call(context, case, kwargs):
    """Shorten the long poll: a claim may ask to be held open for a minute."""
    body = case.body
    if not isinstance(body, dict):
        return
    wait = body.get("wait_seconds")
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        return
    if LONGEST_WAIT_SECONDS < wait <= PERMITTED_WAIT_SECONDS:
        body["wait_seconds"] = LONGEST_WAIT_SECONDS
