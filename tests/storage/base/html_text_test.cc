#include "storage/base/html_text.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(HtmlText, HostileTextEndsNeitherElementNorAttribute) {
  EXPECT_EQ(html_text("<script>\"&\"</script> ok"),
            "&lt;script&gt;&quot;&amp;&quot;&lt;/script&gt; ok");
}

}  // namespace
}  // namespace weir
