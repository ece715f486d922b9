// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/intent.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <iterator>

#include "sys/name.h"

namespace plyfs {
namespace {

constexpr std::string_view kFirstLine = "plyfs-intent 1";

// Locale-independent, unlike isalnum(3).
bool is_plain(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-' || byte == '/';
}

std::string escape(std::string_view text) {
    std::string escaped;
    for (const char byte : text) {
        if (is_plain(byte)) {
            escaped += byte;
        } else {
            fmt::format_to(std::back_inserter(escaped), "%{:02x}",
                           static_cast<unsigned>(static_cast<unsigned char>(byte)));
        }
    }
    return escaped;
}

template <typename Number>
bool parse(std::string_view text, Number& number, int base = 10) {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto [stop, error] = std::from_chars(begin, end, number, base);
    return error == std::errc() && stop == end && !text.empty();
}

bool unescape(std::string_view text, std::string& plain) {
    plain.clear();
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            plain += text[at];
            continue;
        }
        unsigned byte = 0;
        if (at + 2 >= text.size() || !parse(text.substr(at + 1, 2), byte, 16)) return false;
        plain += static_cast<char>(byte);
        at += 2;
    }
    return true;
}

std::string text_of(const Identity& identity) {
    return fmt::format("{}:{}:{}", identity.inode, identity.birth.seconds,
                       identity.birth.nanoseconds);
}

std::string text_of(const Place& place) {
    return fmt::format("{} :{} /{} {}", text_of(place.parent_identity), escape(place.parent_handle),
                       escape(place.parent), escape(place.name));
}

std::string_view text_of_kind(bool is_directory) {
    return is_directory ? "directory" : "other";
}

struct StepText {
    const Intent& intent;

    std::string operator()(const Move& move) const {
        const bool exchange = move.mode == Move::Mode::Exchange;
        return fmt::format("move {} {} {} {} {}\n", intent.ids[move.branch],
                           exchange ? "exchange" : "no-replace", text_of(move.identity),
                           text_of(move.from), text_of(move.to));
    }
    std::string operator()(const Replace& replace) const {
        return fmt::format("replace {} {} {} {} {} {}\n", intent.ids[replace.branch],
                           text_of(replace.identity), text_of(replace.victim),
                           text_of_kind(replace.victim_is_directory), text_of(replace.from),
                           text_of(replace.to));
    }
    std::string operator()(const Bury& bury) const {
        return fmt::format("bury {} {} {} {}\n", intent.ids[bury.branch], text_of(bury.identity),
                           text_of_kind(bury.is_directory), text_of(bury.place));
    }
};

std::string checksum(std::string_view text) {
    return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

// Takes a record apart from the front. Once something is not as expected, `ok` stays false.
class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    bool ok() const { return ok_; }
    bool at_end() const { return text_.empty(); }

    // Up to the separator, which is taken too.
    std::string_view until(char separator) {
        const std::size_t size = text_.find(separator);
        if (size == std::string_view::npos) {
            ok_ = false;
            text_ = {};
            return {};
        }
        const std::string_view part = text_.substr(0, size);
        text_.remove_prefix(size + 1);
        return part;
    }

    void expect(std::string_view word, char separator) {
        if (until(separator) != word) ok_ = false;
    }

    template <typename Number>
    Number number(char separator) {
        Number value{};
        if (!parse(until(separator), value)) ok_ = false;
        return value;
    }

    Identity identity() {
        Identity identity;
        identity.inode = number<std::uint64_t>(':');
        identity.birth.seconds = number<std::int64_t>(':');
        identity.birth.nanoseconds = number<std::uint32_t>(' ');
        return identity;
    }

    Place place(char separator) {
        Place place;
        place.parent_identity = identity();
        const std::string_view handle = until(' ');
        if (!handle.starts_with(':') || !unescape(handle.substr(1), place.parent_handle)) {
            ok_ = false;
        }
        const std::string_view parent = until(' ');
        if (!parent.starts_with('/') || !unescape(parent.substr(1), place.parent)) ok_ = false;
        if (!unescape(until(separator), place.name) || !Name::from(place.name)) ok_ = false;
        return place;
    }

    // One of two words; true: the first.
    bool either(std::string_view first, std::string_view second) {
        const std::string_view word = until(' ');
        if (word != first && word != second) ok_ = false;
        return word == first;
    }

private:
    std::string_view text_;
    bool ok_ = true;
};

std::size_t index_of(Intent& intent, std::string_view id) {
    const auto found = std::ranges::find(intent.ids, id);
    const auto index = static_cast<std::size_t>(found - intent.ids.begin());
    if (found == intent.ids.end()) intent.ids.emplace_back(id);
    return index;
}

bool read_step(Reader& reader, Intent& intent) {
    const std::string_view verb = reader.until(' ');
    const std::size_t branch = index_of(intent, reader.until(' '));
    if (verb == "move") {
        Move move{.branch = branch};
        const bool exchange = reader.either("exchange", "no-replace");
        move.mode = exchange ? Move::Mode::Exchange : Move::Mode::NoReplace;
        move.identity = reader.identity();
        move.from = reader.place(' ');
        move.to = reader.place('\n');
        intent.plan.emplace_back(std::move(move));
    } else if (verb == "replace") {
        Replace replace{.branch = branch};
        replace.identity = reader.identity();
        replace.victim = reader.identity();
        replace.victim_is_directory = reader.either("directory", "other");
        replace.from = reader.place(' ');
        replace.to = reader.place('\n');
        intent.plan.emplace_back(std::move(replace));
    } else if (verb == "bury") {
        Bury bury{.branch = branch};
        bury.identity = reader.identity();
        bury.is_directory = reader.either("directory", "other");
        bury.place = reader.place('\n');
        intent.plan.emplace_back(std::move(bury));
    } else {
        return false;
    }
    return reader.ok();
}

}  // namespace

std::string encode(const Intent& intent) {
    std::string text = fmt::format("{}\nmount {}\nhome {}\nsequence {}\n", kFirstLine, intent.mount,
                                   intent.home, intent.sequence);
    for (const Step& step : intent.plan) text += std::visit(StepText{intent}, step);
    return text + fmt::format("end {}\n", checksum(text));
}

std::optional<Intent> decode(std::string_view text) {
    const std::size_t end = text.rfind("end ");
    if (end == std::string_view::npos ||
        text.substr(end) != "end " + checksum(text.substr(0, end)) + "\n") {
        return std::nullopt;
    }
    Intent intent;
    Reader reader(text.substr(0, end));
    reader.expect(kFirstLine, '\n');
    reader.expect("mount", ' ');
    intent.mount = reader.until('\n');
    reader.expect("home", ' ');
    intent.home = reader.until('\n');
    reader.expect("sequence", ' ');
    intent.sequence = reader.number<std::uint64_t>('\n');
    while (reader.ok() && !reader.at_end()) {
        if (!read_step(reader, intent)) return std::nullopt;
    }
    if (!reader.ok()) return std::nullopt;
    return intent;
}

std::string file_name(const Intent& intent) {
    return fmt::format("{}.{}", intent.mount, intent.sequence);
}

std::uint64_t next_sequence() {
    static std::atomic<std::uint64_t> last{0};
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    const auto now = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count());
    std::uint64_t previous = last.load();
    std::uint64_t next = 0;
    do {
        next = std::max(previous + 1, now);
    } while (!last.compare_exchange_weak(previous, next));
    return next;
}

std::string grave_name(const Intent& intent, std::size_t step) {
    return fmt::format("grave.{}.{}.{}", intent.home, intent.sequence, step);
}

std::optional<GraveOwner> owner_of_grave(std::string_view name) {
    Reader reader(name);
    reader.expect("grave", '.');
    GraveOwner owner;
    owner.home = reader.until('.');
    owner.sequence = reader.number<std::uint64_t>('.');
    if (!reader.ok()) return std::nullopt;
    return owner;
}

}  // namespace plyfs
