// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "config/suggestion.h"
#include "config/units.h"

using namespace plyfs::config;
using namespace std::chrono_literals;

TEST_CASE("sizes are read in powers of 1024", "[config]") {
    struct Row {
        std::string_view text;
        std::uint64_t bytes;
    };
    const auto row =
        GENERATE(Row{"0", 0}, Row{"4096", 4096}, Row{"4096B", 4096}, Row{"4k", 4096},
                 Row{"10G", std::uint64_t{10} << 30}, Row{"10GiB", std::uint64_t{10} << 30},
                 Row{"1.5t", std::uint64_t{3} << 39}, Row{"1.25K", 1280},
                 Row{"2P", std::uint64_t{2} << 50}, Row{"0.5M", 524288});
    CAPTURE(row.text);
    const auto size = parse_size(row.text);
    REQUIRE(size);
    CHECK(*size == row.bytes);
    CHECK(*parse_size(format_size(*size)) == row.bytes);
}

TEST_CASE("a number without unit can count something else than bytes", "[config]") {
    CHECK(*parse_size("128", 1024) == std::uint64_t{128} << 10);
    CHECK(*parse_size("128B", 1024) == 128);
}

TEST_CASE("what is not a size is refused", "[config]") {
    const auto* const text =
        GENERATE("", "G", "-1", "+1", "1.5", "1.", ".5G", "1 G", "1X", "1BiB", "1bb", "0x10", "1e3",
                 "9000000P", "99999999999999999999", "1.0000000001G");
    CAPTURE(text);
    CHECK_FALSE(parse_size(text));
}

TEST_CASE("a size that may mean powers of 1000 is refused with a hint", "[config]") {
    const auto size = parse_size("10GB");
    REQUIRE_FALSE(size);
    CHECK(size.error().hint == "sizes are powers of 1024: write 10G or 10GiB");
}

TEST_CASE("durations are seconds unless they say otherwise", "[config]") {
    struct Row {
        std::string_view text;
        std::chrono::nanoseconds duration;
    };
    const auto row = GENERATE(Row{"0", 0ns}, Row{"1", 1s}, Row{"0.5", 500ms}, Row{"500ms", 500ms},
                              Row{"1.5s", 1500ms}, Row{"90", 90s}, Row{"1m", 60s},
                              Row{"2H", 120min}, Row{"1d", 24h}, Row{"3us", 3us}, Row{"7ns", 7ns});
    CAPTURE(row.text);
    const auto duration = parse_duration(row.text);
    REQUIRE(duration);
    CHECK(*duration == row.duration);
    CHECK(*parse_duration(format_duration(*duration)) == row.duration);
}

TEST_CASE("what is not a duration is refused", "[config]") {
    const auto* const text = GENERATE("", "s", "-1", "1w", "1 s", "1s1m", "200000d", "nan", "inf");
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text));
}

TEST_CASE("counts are whole and within their range", "[config]") {
    CHECK(*parse_count("0", 0, 4) == 0);
    CHECK(*parse_count("4", 0, 4) == 4);
    CHECK_FALSE(parse_count("5", 0, 4));
    CHECK_FALSE(parse_count("-1", 0, 4));
    CHECK_FALSE(parse_count("1.0", 0, 4));
    CHECK_FALSE(parse_count("four", 0, 4));
}

TEST_CASE("the nearest word is suggested only if it is near", "[config]") {
    constexpr std::string_view kWords[] = {"cache", "branches", "attributes", "mode"};
    CHECK(nearest("cahce", kWords) == "cache");
    CHECK(nearest("mod", kWords) == "mode");
    CHECK(nearest("branch", kWords) == "branches");
    CHECK(nearest("attr", kWords) == "attributes");
    CHECK_FALSE(nearest("zebra", kWords));
    CHECK_FALSE(nearest("", kWords));
    CHECK_FALSE(nearest(std::string(100'000, 'c'), kWords));
}
