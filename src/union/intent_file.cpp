// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/intent_file.h"

#include <fcntl.h>

#include <charconv>
#include <tuple>

#include "sys/entry.h"
#include "sys/open.h"
#include "sys/small_file.h"

namespace plyfs {
namespace {

constexpr std::string_view kDamaged = ".damaged";
constexpr int kAttempts = 2;

}  // namespace

Result<void> write_intent(const Intent& intent, WorkDirectory& home) {
    const int work = TRY(home.work());
    const int intents = TRY(home.intents());
    const std::string text = WorkDirectory::unique_name("intent");
    const Name temporary = TRY(Name::from(text));
    const std::string final_text = file_name(intent);
    const Name final_name = TRY(Name::from(final_text));
    auto written = sys::write_new_file(work, temporary, encode(intent), 0600);
    if (written) written = sys::rename(work, temporary, intents, final_name, 0);
    if (!written) {
        std::ignore = sys::remove_name(work, temporary);
        return written;
    }
    written = sys::synchronize_directory(intents);
    if (!written) std::ignore = drop_intent(intents, final_text);
    return written;
}

Result<void> drop_intent(int intents, const std::string& name) {
    const Name file = TRY(Name::from(name));
    Result<void> removed;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        removed = sys::remove_name(intents, file);
        if (!removed && removed.error() != ENOENT) continue;
        std::ignore = sys::synchronize_directory(intents);
        return {};
    }
    if (sys::open_at(intents, file, O_WRONLY | O_TRUNC)) return {};
    return removed;
}

std::optional<IntentName> parse_intent_name(std::string_view name) {
    IntentName parsed;
    if (name.ends_with(kDamaged)) {
        parsed.damaged = true;
        name.remove_suffix(kDamaged.size());
    }
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    parsed.mount = name.substr(0, dot);
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + dot + 1, end, parsed.sequence);
    if (error != std::errc() || stop != end) return std::nullopt;
    return parsed;
}

Result<std::optional<Intent>> read_intent(int intents, const std::string& name) {
    const auto text = sys::read_small_file(intents, TRY(Name::from(name)), kIntentSizeLimit);
    if (!text && text.error() != EINVAL && text.error() != EFBIG && text.error() != ELOOP) {
        return fail(text.error());
    }
    if (!text) return std::nullopt;
    std::optional<Intent> intent = decode(*text);
    if (intent && file_name(*intent) != name) intent.reset();
    return intent;
}

Result<void> set_intent_aside(int intents, const std::string& name) {
    const std::string aside = name + std::string(kDamaged);
    return sys::rename(intents, TRY(Name::from(name)), intents, TRY(Name::from(aside)), 0);
}

}  // namespace plyfs
