"""Known backbones and datasets: sizes, versions, shapes."""
