"""Several engines of one seam as one: the first that works answers, and nothing is answered twice.

Decides which engine of an ordered list is used and when to give one up; whether an engine may
be tried at all is its breaker's (`pipeline/engines/breaker.py`). A module a seam. What a failure
means for the call is the core's; here it is `AllDown` when no engine is left.
"""

from pipeline.engines.failover.speaker import FailoverSpeaker
from pipeline.engines.failover.thinker import FailoverThinker
from pipeline.engines.failover.transcriber import FailoverTranscriber

__all__ = ["FailoverSpeaker", "FailoverThinker", "FailoverTranscriber"]
