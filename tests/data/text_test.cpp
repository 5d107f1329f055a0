#include "gradwise/data/text.h"

#include <gtest/gtest.h>

#include <memory>

#include "error_of.h"
#include "gradwise/data/loader.h"
#include "gradwise/data/text_windows.h"
#include "temporary_folder.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

using Characters = std::vector<std::string>;

TEST(Text, TokenizesByCodePoint) {
  const TemporaryFolder folder;
  const Text text = read_text(folder.write("a.txt", "bà😀a b"));
  EXPECT_EQ(text.vocabulary, (Characters{" ", "a", "b", "à", "😀"}));
  EXPECT_TRUE(text.tokens.equal(tensor_of<std::uint8_t>({2, 3, 4, 1, 0, 2}, {6})));
  EXPECT_EQ(decode(text.tokens, text.vocabulary), "bà😀a b");
}

TEST(Text, StoresManyCharactersInAWiderType) {
  std::string many;
  for (int i = 0; i < 300; ++i) {
    many += static_cast<char>(0xc4 + i / 64);
    many += static_cast<char>(0x80 + i % 64);
  }
  const Text text = tokenize(many);
  EXPECT_EQ(text.vocabulary.size(), 300U);
  EXPECT_EQ(text.tokens.scalar_type(), at::kShort);
  EXPECT_EQ(decode(text.tokens, text.vocabulary), many);
}

TEST(Text, RefusesBadText) {
  const Characters vocabulary = {"a", "b"};
  const Characters twice = {"a", "a"};
  const Characters words = {"ab"};
  EXPECT_ERROR_WITH("is empty", tokenize(""));
  EXPECT_ERROR_WITH("not UTF-8 at byte 2", tokenize("ab\xff"));
  EXPECT_ERROR_WITH("not UTF-8 at byte 1", tokenize("a\xc3"));
  EXPECT_ERROR_WITH("not UTF-8 at byte 0", tokenize("\xe2\x41\x80"));
  EXPECT_ERROR_WITH("not UTF-8 at byte 0", tokenize("\xe0\x80\x80"));      // overlong
  EXPECT_ERROR_WITH("not UTF-8 at byte 0", tokenize("\xed\xa0\x80"));      // a surrogate
  EXPECT_ERROR_WITH("not UTF-8 at byte 0", tokenize("\xf4\x90\x80\x80"));  // past the last code point
  EXPECT_ERROR_WITH("the character \"c\" at byte 2", tokenize("abc", vocabulary));
  EXPECT_ERROR_WITH("a character twice", tokenize("a", twice));
  EXPECT_ERROR_WITH("allowed: single characters", tokenize("a", words));
  EXPECT_ERROR_WITH("token 2 at 0", decode(tensor_of<std::int64_t>({2}, {1}), vocabulary));
}

TEST(Text, SplitKeepsEveryToken) {
  const Text text = tokenize("abcdefghij");
  const TextSplit parts = split(text, 0.7);
  EXPECT_EQ(decode(parts.first.tokens, text.vocabulary) + decode(parts.second.tokens, text.vocabulary), "abcdefghij");
  EXPECT_EQ(parts.first.tokens.size(0), 7);
}

TEST(TextWindows, TargetsAreTheNextTokens) {
  const auto tokens = counted<std::uint8_t>({10});
  DataLoader loader(std::make_shared<TextWindowStore>(tokens, WindowOptions{.block_size = 3, .stride = 2}),
                    {.batch_size = 4, .shuffle = false});
  loader.start(0, 0);
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  EXPECT_TRUE(batch.input.equal(tensor_of<std::int64_t>({0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8}, {4, 3})));
  EXPECT_TRUE(batch.target.equal(batch.input.add(1)));
  EXPECT_FALSE(loader.next(batch));
}

TEST(TextWindows, CountsWindows) {
  struct Case {
    std::int64_t tokens, block_size, stride, windows;
  };
  const std::vector<Case> cases = {{10, 3, 1, 7}, {10, 3, 0, 3}, {10, 9, 5, 1}, {11, 5, 5, 2}, {10, 5, 5, 1}};
  for (const Case& c : cases) {
    const TextWindowStore store(counted<std::int32_t>({c.tokens}), {.block_size = c.block_size, .stride = c.stride});
    EXPECT_EQ(store.size(), c.windows) << c.tokens << " " << c.block_size << " " << c.stride;
  }
  EXPECT_ERROR_WITH("a text of 3 tokens has no window of block_size 3",
                    TextWindowStore(counted<std::uint8_t>({3}), {.block_size = 3}));
}

}  // namespace
}  // namespace gradwise
