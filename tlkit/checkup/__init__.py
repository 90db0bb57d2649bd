"""A look at a project that `tlkit new` made: what fails in it without saying so, why it matters, and what to type.

As for the machine, facts are gathered in one place (`look_at_project`) and judged in another (`judge_project`), which
needs neither TensorFlow nor a project.
"""

from tlkit.checkup.project import ProjectFacts, judge_project, look_at_project

__all__ = ["ProjectFacts", "judge_project", "look_at_project"]
