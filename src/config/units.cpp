// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/units.h"

#include <limits>
#include <optional>
#include <span>

#include <fmt/format.h>

namespace plyfs::config {

namespace {

__extension__ using Wide = unsigned __int128;

struct Unit {
    std::string_view name;  // lower case
    std::uint64_t factor;
};

constexpr Unit kSizeUnits[] = {
    {"p", std::uint64_t{1} << 50}, {"t", std::uint64_t{1} << 40}, {"g", std::uint64_t{1} << 30},
    {"m", std::uint64_t{1} << 20}, {"k", std::uint64_t{1} << 10}, {"b", 1},
};

constexpr Unit kDurationUnits[] = {
    {"d", 86'400'000'000'000},
    {"h", 3'600'000'000'000},
    {"m", 60'000'000'000},
    {"s", 1'000'000'000},
    {"ms", 1'000'000},
    {"us", 1'000},
    {"ns", 1},
};

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

// A decimal number split into its parts; `unit` is what follows it.
struct Number {
    std::uint64_t whole = 0;
    std::uint64_t fraction = 0;        // over fraction_scale
    std::uint64_t fraction_scale = 1;  // a power of ten
    std::string_view unit;
};

// Nothing where `text` does not begin with a number or has more digits than the types hold.
std::optional<Number> split_number(std::string_view text) {
    Number number;
    std::size_t i = 0;
    for (; i < text.size() && is_digit(text[i]); ++i) {
        const auto digit = static_cast<std::uint64_t>(text[i] - '0');
        if (__builtin_mul_overflow(number.whole, std::uint64_t{10}, &number.whole) ||
            __builtin_add_overflow(number.whole, digit, &number.whole))
            return std::nullopt;
    }
    if (i == 0) return std::nullopt;
    if (i < text.size() && text[i] == '.') {
        const std::size_t first = ++i;
        for (; i < text.size() && is_digit(text[i]); ++i) {
            if (i - first == 9) return std::nullopt;
            number.fraction = number.fraction * 10 + static_cast<std::uint64_t>(text[i] - '0');
            number.fraction_scale *= 10;
        }
        if (i == first) return std::nullopt;
    }
    number.unit = text.substr(i);
    return number;
}

std::optional<std::uint64_t> factor_of(std::span<const Unit> units, std::string_view name) {
    for (const Unit& unit : units)
        if (unit.name == name) return unit.factor;
    return std::nullopt;
}

// Nothing on overflow of `maximum`. A fraction of the smallest unit is dropped.
std::optional<std::uint64_t> scale(const Number& number, std::uint64_t factor,
                                   std::uint64_t maximum) {
    const Wide value =
        Wide{number.whole} * factor + Wide{number.fraction} * factor / number.fraction_scale;
    if (value > maximum) return std::nullopt;
    return static_cast<std::uint64_t>(value);
}

std::string in_largest_unit(std::span<const Unit> units, std::uint64_t value) {
    for (const Unit& unit : units)
        if (value >= unit.factor && value % unit.factor == 0)
            return fmt::format("{}{}", value / unit.factor, unit.name);
    return fmt::format("0{}", units.back().name);
}

}  // namespace

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return lower;
}

Parsed<std::uint64_t> parse_size(std::string_view text, std::uint64_t plain_unit) {
    const auto number = split_number(text);
    const auto not_a_size = [&] {
        return std::unexpected(Complaint{fmt::format("`{}` is not a size", text),
                                         "a number with B, K, M, G, T or P, such as 10G"});
    };
    if (!number) return not_a_size();

    std::string unit = lower_case(number->unit);
    if (unit.size() == 3 && unit.ends_with("ib") && unit != "bib")
        unit.resize(1);
    else if (unit.size() == 2 && unit.ends_with('b') && unit != "bb")
        return std::unexpected(
            Complaint{fmt::format("`{}` may mean powers of 1000 or of 1024", text),
                      fmt::format("sizes are powers of 1024: write {0} or {0}iB",
                                  text.substr(0, text.size() - 1))});
    std::optional<std::uint64_t> factor = plain_unit;
    if (!unit.empty())
        factor = factor_of(kSizeUnits, unit);
    else if (number->fraction_scale != 1)
        return not_a_size();
    if (!factor) return not_a_size();
    if (const auto size = scale(*number, *factor, std::numeric_limits<std::int64_t>::max()))
        return *size;
    return std::unexpected(Complaint{fmt::format("`{}` is too large", text), ""});
}

Parsed<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    const auto number = split_number(text);
    std::optional<std::uint64_t> factor;
    if (number)
        factor = factor_of(kDurationUnits, number->unit.empty() ? "s" : lower_case(number->unit));
    if (!factor)
        return std::unexpected(
            Complaint{fmt::format("`{}` is not a duration", text),
                      "seconds, or a number with ns, us, ms, s, m, h or d, such as 500ms"});
    if (const auto value = scale(*number, *factor, std::numeric_limits<std::int64_t>::max()))
        return std::chrono::nanoseconds(static_cast<std::int64_t>(*value));
    return std::unexpected(Complaint{fmt::format("`{}` is too long", text), "at most 106751d"});
}

Parsed<bool> parse_boolean(std::string_view text) {
    const std::string word = lower_case(text);
    for (const std::string_view yes : {"true", "yes", "on", "1"})
        if (word == yes) return true;
    for (const std::string_view no : {"false", "no", "off", "0"})
        if (word == no) return false;
    return std::unexpected(
        Complaint{fmt::format("`{}` is neither true nor false", text), "write true or false"});
}

Parsed<std::uint64_t> parse_count(std::string_view text, std::uint64_t minimum,
                                  std::uint64_t maximum) {
    const auto number = split_number(text);
    if (!number || !number->unit.empty() || number->fraction_scale != 1)
        return std::unexpected(Complaint{fmt::format("`{}` is not a whole number", text),
                                         fmt::format("from {} to {}", minimum, maximum)});
    if (number->whole < minimum || number->whole > maximum)
        return std::unexpected(Complaint{fmt::format("{} is out of range", text),
                                         fmt::format("from {} to {}", minimum, maximum)});
    return number->whole;
}

std::string format_size(std::uint64_t bytes) {
    std::string text = in_largest_unit(kSizeUnits, bytes);
    text.back() = static_cast<char>(text.back() - 'a' + 'A');
    return text;
}

std::string format_duration(std::chrono::nanoseconds duration) {
    if (duration.count() <= 0) return "0s";
    return in_largest_unit(kDurationUnits, static_cast<std::uint64_t>(duration.count()));
}

}  // namespace plyfs::config
