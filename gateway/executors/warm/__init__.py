"""Operators of one image start from a parent that has imported everything already.

Three programs take part, each with as few rights as it needs:

* the *keeper* (:mod:`.keeper`), which is ours, has a pid namespace of its own and makes sandboxes;
* the *parent* (:mod:`.zygote`) lives in a sandbox that shows programs and nothing else; it imports
  the operator's module and then only forks;
* a *fork* enters one sandbox, the same bubblewrap as a cold start, and becomes the operator there.

``docs/explanation/warm-operators.md`` tells why.
"""
