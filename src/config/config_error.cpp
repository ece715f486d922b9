// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/config_error.h"

#include <utility>

#include <fmt/format.h>

namespace plyfs::config {

namespace {

// An error quotes what the user wrote; that must not move the cursor of a terminal.
std::string printable(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f)
            out += fmt::format("\\x{:02x}", byte);
        else
            out += c;
    }
    return out;
}

std::string place(const Location& where) {
    std::string text = where.source;
    if (where.line != 0) text += fmt::format(":{}", where.line);
    if (!where.key.empty()) text += (text.empty() ? "" : ": ") + where.key;
    return text;
}

}  // namespace

ConfigError at(const Location& where, Complaint complaint) {
    return {where, std::move(complaint.reason), std::move(complaint.hint)};
}

std::string to_text(const ConfigError& error) {
    std::string text = warning_text(error.where, error.reason);
    if (!error.hint.empty()) text += " (" + printable(error.hint) + ")";
    return text;
}

std::string warning_text(const Location& where, const std::string& reason) {
    const std::string prefix = place(where);
    return printable(prefix.empty() ? reason : prefix + ": " + reason);
}

}  // namespace plyfs::config
