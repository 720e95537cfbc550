# Third-party libraries, all from the system's packages (tools/install-packages names them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBURING REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(SIMDJSON REQUIRED IMPORTED_TARGET simdjson>=3.0)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb>=0.9.24)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.87)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis>=0.14)
pkg_check_modules(LIBPQ REQUIRED IMPORTED_TARGET libpq>=14)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.0)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(LIBDEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

# tl::expected is one header (libexpected-dev).
find_path(TL_EXPECTED_INCLUDE tl/expected.hpp REQUIRED)

# llhttp: Debian 13 has a library; Debian 12 ships the C sources with node-llhttp.
find_path(LLHTTP_INCLUDE llhttp.h PATH_SUFFIXES llhttp PATHS /usr/share/include REQUIRED)
find_library(LLHTTP_LIBRARY NAMES llhttp)
add_library(weir_llhttp STATIC IMPORTED GLOBAL)
if(NOT LLHTTP_LIBRARY)
  find_path(LLHTTP_SOURCE llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH REQUIRED)
  add_library(weir_llhttp_sources STATIC
    ${LLHTTP_SOURCE}/llhttp.c ${LLHTTP_SOURCE}/api.c ${LLHTTP_SOURCE}/http.c)
  # System headers, so that our warnings do not apply.
  target_include_directories(weir_llhttp_sources SYSTEM PUBLIC ${LLHTTP_INCLUDE})
  target_compile_options(weir_llhttp_sources PRIVATE -w -O2)
  add_library(weir::llhttp ALIAS weir_llhttp_sources)
else()
  set_target_properties(weir_llhttp PROPERTIES IMPORTED_LOCATION ${LLHTTP_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${LLHTTP_INCLUDE})
  add_library(weir::llhttp ALIAS weir_llhttp)
endif()

# The dashboard is bundled with esbuild, which npm installs (collector/admin/web).
find_program(NODE_PROGRAM NAMES node nodejs)
find_program(NPM_PROGRAM npm)
if(NOT NODE_PROGRAM OR NOT NPM_PROGRAM)
  message(FATAL_ERROR "The dashboard is built with Node.js (18 or newer) and npm, and one of them is missing. "
    "tools/install-packages build installs them (Debian: apt-get install nodejs npm).")
endif()
