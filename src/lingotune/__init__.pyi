from lingotune.api import Model as Model
from lingotune.api import Prediction as Prediction
from lingotune.api import Run as Run
from lingotune.api import compose as compose
from lingotune.api import evaluate as evaluate
from lingotune.api import load as load
from lingotune.api import plan as plan
from lingotune.api import prepare as prepare
from lingotune.api import publish as publish
from lingotune.api import train as train
from lingotune.config.problems import ConfigError as ConfigError
from lingotune.config.problems import Problem as Problem
from lingotune.config.problems import PublishError as PublishError
from lingotune.config.schema import JobConfig as JobConfig
from lingotune.evaluation.evaluate import Evaluation as Evaluation
from lingotune.launch.plan.planner import Plan as Plan

__version__: str
