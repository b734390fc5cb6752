// SPDX-License-Identifier: Apache-2.0
// mixtral-train: finds the command and turns errors into one line and an exit code, the same codes
// as the program mixtral has.
#include "train/commands.h"

int main(int argc, char** argv) {
  return mixtral::train::RunProgram({argv + (argc > 0 ? 1 : 0), argv + argc});
}
