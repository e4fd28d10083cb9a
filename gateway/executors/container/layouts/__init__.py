"""How an image expects its folders: as Clara's operators do, as a MONAI package, as mercure's."""
