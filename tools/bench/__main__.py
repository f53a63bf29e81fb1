"""Time the course's methods against the libraries: python -m tools.bench [--quick] [--json FILE] [--only WORD ...]."""

import gc
import os

# Before torch is imported: the course's own data, quiet libraries, threads that give way
os.environ.update(COURSE_WORLD="course", TQDM_DISABLE="1", NO_ALBUMENTATIONS_UPDATE="1")
os.environ.update(KINETO_LOG_LEVEL="99", TORCH_CPP_LOG_LEVEL="ERROR")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from tools.bench.run import main  # noqa: E402

if __name__ == "__main__":
    gc.freeze()  # what was imported stays, so that collecting before each round takes no time
    try:
        raise SystemExit(main())
    finally:
        gc.unfreeze()
