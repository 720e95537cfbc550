# Sanitizers apply to the whole program: mixing instrumented and plain objects hides findings.
if(WEIR_SANITIZE)
  add_compile_options(-fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  # Our libraries are built without RTTI, which the vptr check would need.
  if(WEIR_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize=vptr)
  endif()
  add_link_options(-fsanitize=${WEIR_SANITIZE})
endif()
if(WEIR_TINY_LIMITS)
  add_compile_definitions(WEIR_TINY_LIMITS=1)
endif()
if(WEIR_FUZZ)
  # Coverage in every object, so that libFuzzer sees into the libraries.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
