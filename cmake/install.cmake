# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` and `cpack -G DEB` lay down: the program, the shared library, its two headers, and the files by
# which find_package(mixtral) and pkg-config find them, man pages, and completions for bash, zsh and fish. Everything is
# relative to the prefix, so an installed tree moves.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
# mixtral-train is a component and a package of its own, since LibTorch comes with it.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME main)
set(MIXTRAL_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/mixtral)

install(TARGETS mixtral RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS mixtral_shared EXPORT mixtral-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/mixtral DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES README.md docs/library.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# Man pages and shell completions: what the program says of itself.
set(MIXTRAL_SHELL_FILES ${PROJECT_BINARY_DIR}/shell_files)
add_custom_command(OUTPUT ${MIXTRAL_SHELL_FILES}/done COMMENT "Writing man pages and shell completions"
  COMMAND ${CMAKE_COMMAND} -DMIXTRAL=$<TARGET_FILE:mixtral> -DFOLDER=${MIXTRAL_SHELL_FILES}
    -P ${PROJECT_SOURCE_DIR}/cmake/shell_files.cmake
  DEPENDS mixtral ${PROJECT_SOURCE_DIR}/cmake/shell_files.cmake)
add_custom_target(mixtral_shell_files ALL DEPENDS ${MIXTRAL_SHELL_FILES}/done)
install(DIRECTORY ${MIXTRAL_SHELL_FILES}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
install(FILES ${MIXTRAL_SHELL_FILES}/mixtral.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
  RENAME mixtral)
install(FILES ${MIXTRAL_SHELL_FILES}/mixtral.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
# zsh looks below /usr/local for site-functions, and Debian's below /usr for vendor-completions.
install(CODE "
  set(folder site-functions)
  if(CMAKE_INSTALL_PREFIX MATCHES \"/usr$\")
    set(folder vendor-completions)
  endif()
  file(INSTALL ${MIXTRAL_SHELL_FILES}/_mixtral
    DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/zsh/\${folder}\")")

if(TARGET mixtral-train)
  # Its man page would have the name of `mixtral train`'s, which is in the other package.
  install(TARGETS mixtral-train RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT train)
  set(train_documents ${CMAKE_INSTALL_DATADIR}/doc/mixtral-train)
  install(FILES docs/training.md docs/training-data.md DESTINATION ${train_documents} COMPONENT train)
  install(FILES LICENSE DESTINATION ${train_documents} RENAME copyright COMPONENT train)
endif()

install(EXPORT mixtral-targets NAMESPACE mixtral:: FILE mixtral-config.cmake DESTINATION ${MIXTRAL_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mixtral-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mixtral-config-version.cmake DESTINATION ${MIXTRAL_CMAKE_DIR})

file(RELATIVE_PATH MIXTRAL_PREFIX_FROM_PC /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/mixtral.pc.in ${PROJECT_BINARY_DIR}/mixtral.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mixtral.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(CPACK_PACKAGE_NAME mixtral)
set(CPACK_PACKAGE_VENDOR "mixtral.cpp")
set(CPACK_PACKAGE_CONTACT "The mixtral.cpp authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Run and train Mixtral models, sparse mixtures of experts")
set(CPACK_PACKAGE_DESCRIPTION "One program and library that opens Mixtral checkpoints as they are (GGUF files, Hugging Face and
Mistral folders) and answers, without converting anything. Contains the program mixtral, the shared
library libmixtral.so.${PROJECT_VERSION_MAJOR} and its headers for C++20 and C11.")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ
  WORLD_EXECUTE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_MAIN_PACKAGE_NAME mixtral)
set(CPACK_DEBIAN_MAIN_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_DEBIAN_MAIN_PACKAGE_SUGGESTS mixtral-train)
set(CPACK_DEBIAN_TRAIN_PACKAGE_NAME mixtral-train)
set(CPACK_DEBIAN_TRAIN_DESCRIPTION "The trainer: pretraining, fine-tuning and preference optimisation on LibTorch, started by 'mixtral train',
'sft' and 'dpo' of the package mixtral, which also makes the token shards that it reads.")
set(CPACK_DEBIAN_TRAIN_PACKAGE_RECOMMENDS "mixtral, libopenblas0-openmp")
include(CPack)
