# Weir's own targets compile without a single warning; third-party sources are exempt.
add_library(weir_warnings INTERFACE)
target_compile_options(weir_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Wcast-qual -Woverloaded-virtual -Wvla -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports false positives of these in inlined library code at -O2.
  target_compile_options(weir_warnings INTERFACE -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow
    -Wno-stringop-overread -Wno-maybe-uninitialized)
endif()

# weir_library(name SOURCES... ): a static library of one folder.
function(weir_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PRIVATE weir_warnings)
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>)
endfunction()
