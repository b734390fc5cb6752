# SPDX-License-Identifier: Apache-2.0
# Flags of every target. Never -ffast-math, and -ffp-contract=off: a fused multiply-add is written where it is meant,
# because results must not depend on what the compiler fuses (docs/kernels.md).
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O3")

add_library(mixtral_flags INTERFACE)
target_compile_options(mixtral_flags INTERFACE -ffp-contract=off -fno-math-errno -fno-trapping-math
  -Wall -Wextra -Wshadow $<$<BOOL:${MIXTRAL_WERROR}>:-Werror>)
target_include_directories(mixtral_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(MIXTRAL_SANITIZE)
  target_compile_options(mixtral_flags INTERFACE -fsanitize=${MIXTRAL_SANITIZE} -fno-omit-frame-pointer
    $<$<STREQUAL:${MIXTRAL_SANITIZE},address$<COMMA>undefined>:-fno-sanitize-recover=all>)
  target_link_options(mixtral_flags INTERFACE -fsanitize=${MIXTRAL_SANITIZE})
endif()
