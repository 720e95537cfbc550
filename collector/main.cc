// The composition root: the one file that sees everything.
#include "collector/cli/cli.h"

int main(int argc, char** argv) {
  weir::cli::Hooks hooks;
  return weir::cli::run(argc, argv, hooks);
}
