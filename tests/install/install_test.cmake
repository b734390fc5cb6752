# SPDX-License-Identifier: Apache-2.0
# Installs into an empty prefix, moves it, builds the examples against it by find_package and by pkg-config, and compares
# what they print with the installed program. And the Debian package has what was installed. Run by ctest with SOURCE_DIR,
# BUILD_DIR, LIBDIR, CXX, NM and CPACK.
cmake_policy(VERSION 3.25)
set(work ${BUILD_DIR}/install_test)
set(prefix ${work}/moved)
set(model ${SOURCE_DIR}/models/tiny-multilingual-q8_0.gguf)
set(text "To insert a table into a document,")
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})

# run(VARIABLE COMMAND...): standard output without the newlines at its end; anything but exit code 0 ends the test.
function(run variable)
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE code)
  if(NOT code STREQUAL 0)
    message(FATAL_ERROR "${ARGN}\nended with ${code}\n${out}${err}")
  endif()
  string(REGEX REPLACE "\n+$" "" out "${out}")
  set(${variable} "${out}" PARENT_SCOPE)
endfunction()

function(expect_equal what found expected)
  if(NOT found STREQUAL expected)
    message(FATAL_ERROR "${what}:\nexpected '${expected}'\nfound    '${found}'")
  endif()
endfunction()

run(ignored ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${work}/prefix)
file(RENAME ${work}/prefix ${prefix})  # an installed tree may move
foreach(file bin/mixtral ${LIBDIR}/libmixtral.so.0 include/mixtral/mixtral.h include/mixtral/mixtral_c.h
    ${LIBDIR}/pkgconfig/mixtral.pc share/doc/mixtral/copyright share/man/man1/mixtral.1 share/man/man1/mixtral-run.1
    share/bash-completion/completions/mixtral share/zsh/site-functions/_mixtral
    share/fish/vendor_completions.d/mixtral.fish)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()

# Only what the two headers declare is visible.
run(symbols ${NM} -D --defined-only --format=posix ${prefix}/${LIBDIR}/libmixtral.so)
string(REPLACE "\n" ";" symbols "${symbols}")
list(LENGTH symbols n_symbols)
list(FILTER symbols EXCLUDE REGEX "^(mixtral_[a-z_]+|_ZT[VIS]N7mixtral3api5ErrorE)@|^_ZNK?7mixtral3api|^MIXTRAL_0")
if(symbols OR n_symbols LESS 20)
  message(FATAL_ERROR "libmixtral.so: expected the API's symbols alone, found ${n_symbols}, among them ${symbols}")
endif()

run(expected ${prefix}/bin/mixtral run ${model} -p ${text} -n 40 --seed 7 -q)

run(ignored ${CMAKE_COMMAND} -G Ninja -S ${prefix}/share/doc/mixtral/examples -B ${work}/examples
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${CXX})
run(ignored ${CMAKE_COMMAND} --build ${work}/examples --parallel 2)
foreach(example generate generate_c)
  run(found ${work}/examples/${example} ${model} ${text} 7)
  expect_equal("${example} by find_package" "${found}" "${expected}")
endforeach()
run(found ${work}/examples/routing ${model} ${text})
if(NOT found MATCHES "^layer 0:( +[0-9]+)+\n.*\nloss [0-9.]+. without expert [0-7]: [0-9.]+$")
  message(FATAL_ERROR "routing: unexpected output\n${found}")
endif()

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
run(flags pkg-config --cflags --libs mixtral)
separate_arguments(flags UNIX_COMMAND "${flags}")
set(ENV{LD_LIBRARY_PATH} ${prefix}/${LIBDIR})
run(ignored cc -std=c11 -Wall -Wextra -Werror ${SOURCE_DIR}/examples/generate.c -o ${work}/from_c ${flags})
run(ignored ${CXX} -std=c++20 -Wall -Wextra -Werror ${SOURCE_DIR}/examples/generate.cc -o ${work}/from_cc ${flags})
foreach(example from_c from_cc)
  run(found ${work}/${example} ${model} ${text} 7)
  expect_equal("${example} by pkg-config" "${found}" "${expected}")
endforeach()

# The package: the same files below /usr, and zsh's where Debian's zsh looks.
find_program(dpkg_deb dpkg-deb)
find_program(shlibdeps dpkg-shlibdeps)
if(dpkg_deb AND shlibdeps)
  run(ignored ${CPACK} -G DEB -B ${work}/deb --config ${BUILD_DIR}/CPackConfig.cmake)
  file(GLOB package ${work}/deb/mixtral_*.deb)
  run(contents ${dpkg_deb} -c ${package})
  foreach(file bin/mixtral include/mixtral/mixtral.h share/man/man1/mixtral.1 share/man/man1/mixtral-run.1
      share/bash-completion/completions/mixtral share/zsh/vendor-completions/_mixtral
      share/fish/vendor_completions.d/mixtral.fish share/doc/mixtral/copyright)
    if(NOT "${contents}\n" MATCHES "\\./usr/${file}\n")
      message(FATAL_ERROR "${file} is not in the package:\n${contents}")
    endif()
  endforeach()
  # The trainer, where it was built, is a package of its own: this one does without LibTorch.
  if("${contents}" MATCHES "mixtral-train\n")
    message(FATAL_ERROR "mixtral-train is in the package of mixtral:\n${contents}")
  endif()
  file(GLOB trainer ${work}/deb/mixtral-train_*.deb)
  if(trainer)
    run(trainer_contents ${dpkg_deb} -c ${trainer})
    if(NOT "${trainer_contents}\n" MATCHES "\\./usr/bin/mixtral-train\n")
      message(FATAL_ERROR "bin/mixtral-train is not in its package:\n${trainer_contents}")
    endif()
    # A file of both would keep the second one from being installed.
    string(REGEX MATCHALL "\\./usr/[^ \n]*[^/ \n]" files "${trainer_contents}")
    foreach(file ${files})
      string(FIND "${contents}\n" "${file}\n" at)
      if(NOT at EQUAL -1)
        message(FATAL_ERROR "both packages have ${file}")
      endif()
    endforeach()
  endif()
  run(depends ${dpkg_deb} -f ${package} Depends)
  if(NOT depends MATCHES "libc6" OR NOT depends MATCHES "libsentencepiece")
    message(FATAL_ERROR "the package depends on '${depends}'")
  endif()
else()
  message("dpkg-deb or dpkg-shlibdeps is not installed: the package is not checked")
endif()
