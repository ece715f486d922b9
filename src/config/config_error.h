// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is wrong with a configuration, and where. Configuration is read by people, so every error
// says the place, the key, the reason and, where there is one, what to do about it. Functions
// collect as many errors as they can find rather than stopping at the first. Plain values.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace plyfs::config {

// Where a value was written.
struct Location {
    std::string source;     // a file as the user named it, "command line" or "-o options"
    std::string directory;  // absolute; what a relative path in the value is relative to
    unsigned line = 0;      // from 1; 0 where the source has no lines
    unsigned column = 0;    // from 1; 0 where unknown
    std::string key;        // as in the file (`cache.entry`, `branches[1].path`) or the option
};

// What is wrong with a value, said by code that does not know where the value came from.
struct Complaint {
    std::string reason;
    std::string hint;  // "": none
};

template <typename T>
using Parsed = std::expected<T, Complaint>;

struct ConfigError {
    Location where;
    std::string reason;
    std::string hint;  // "": none
};

using ConfigErrors = std::vector<ConfigError>;

ConfigError at(const Location& where, Complaint complaint);

// `FILE:LINE: KEY: reason (hint)`, without the parts that are not known. No newline, and no control
// characters from the values it quotes.
std::string to_text(const ConfigError& error);

// The same without a hint, for a warning about a value.
std::string warning_text(const Location& where, const std::string& reason);

}  // namespace plyfs::config
