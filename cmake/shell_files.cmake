# SPDX-License-Identifier: Apache-2.0
# Writes FOLDER/man1/*.1 and the completions of bash, zsh and fish by asking the program MIXTRAL. Run by the build.
cmake_policy(VERSION 3.25)
file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER}/man1)

# write(FILE ARGUMENT...): what mixtral prints when called with these.
function(write file)
  execute_process(COMMAND ${MIXTRAL} ${ARGN} RESULT_VARIABLE code ERROR_VARIABLE err OUTPUT_FILE ${FOLDER}/${file})
  if(NOT code STREQUAL 0)
    message(FATAL_ERROR "mixtral ${ARGN} ended with ${code}\n${err}")
  endif()
endfunction()

write(pages help --man --output ${FOLDER}/man1)
write(mixtral.bash completions bash)
write(_mixtral completions zsh)
write(mixtral.fish completions fish)
file(TOUCH ${FOLDER}/done)
