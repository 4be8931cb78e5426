"""The layouts by the name the command line uses: folder of the dataset and its plan."""

from collections.abc import Callable

from wrimnet.lab.synthetic.llcm_layout import plan_llcm
from wrimnet.lab.synthetic.plan import Plan, Request
from wrimnet.lab.synthetic.regdb_layout import plan_regdb
from wrimnet.lab.synthetic.sysu_layout import plan_sysu

LAYOUTS: dict[str, tuple[str, Callable[[Request], Plan]]] = {
    "llcm": ("LLCM", plan_llcm),
    "regdb": ("RegDB", plan_regdb),
    "sysu": ("SYSU-MM01", plan_sysu),
}
