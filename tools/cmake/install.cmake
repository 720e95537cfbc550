# cmake --install: the programs and their manual pages, which they write themselves.
include(GNUInstallDirs)

function(weir_man_page program page)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/${page}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND ${program} ${ARGN} > ${CMAKE_BINARY_DIR}/man/${page}
    DEPENDS ${program} VERBATIM)
  string(REGEX MATCH "[0-9]$" section ${page})
  install(FILES ${CMAKE_BINARY_DIR}/man/${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endfunction()

install(TARGETS weir RUNTIME)
weir_man_page(weir weir.1 --man)
weir_man_page(weir weir.toml.5 config print --man)
set(pages ${CMAKE_BINARY_DIR}/man/weir.1 ${CMAKE_BINARY_DIR}/man/weir.toml.5)
if(WEIR_BENCH)
  install(TARGETS weir-bench RUNTIME)
  weir_man_page(weir-bench weir-bench.1 --man)
  list(APPEND pages ${CMAKE_BINARY_DIR}/man/weir-bench.1)
endif()
add_custom_target(man ALL DEPENDS ${pages})
