// weir version
#include "collector/version.h"

#include "collector/cli/verbs.h"
#include "collector/json_writer.h"

namespace weir::cli {

void add_version(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("version", "Version of this program and of what it uses");
  add_json_flag(*verb, context);
  verb->callback([&context] {
    if (!context.json) {
      print(fmt::format("weir {}\nkernel {}\nliburing {}\nlmdb {}\ncompiler {}\n", version(),
                        kernel_release(), liburing_version(), lmdb_version(), compiler()));
      return;
    }
    JsonWriter json;
    json.begin_object().field("version", version()).field("kernel", kernel_release());
    json.field("liburing", liburing_version()).field("lmdb", lmdb_version());
    json.field("compiler", compiler()).end_object();
    print(json.take() + "\n");
  });
}

}  // namespace weir::cli
