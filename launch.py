"""Plan, check or submit training jobs on SageMaker: python launch.py cluster=p3_16xl per_device_bs=16"""

import sys

from lingotune.cli.launch import main
from lingotune.config.console import exit_code_of

if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(sys.argv[1:])))
