// SPDX-License-Identifier: GPL-2.0-or-later
//
// Intent records as files. Thread-safe as the file system is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sys/result.h"
#include "union/intent.h"
#include "union/work_directory.h"

namespace plyfs {

// Writes the record into the work directory of its home, which `home` is; it is on disk when this
// returns. After an error there is none, unless removing it failed too.
Result<void> write_intent(const Intent& intent, WorkDirectory& home);

// Removes the record `name` and waits until that is on disk: one that came back after later verbs
// would be replayed over them. If it can't be removed it is emptied, so that recovery can't read
// it. An error: it is as it was.
Result<void> drop_intent(int intents, const std::string& name);

// What a file name in an intents directory says.
struct IntentName {
    MountId mount;
    std::uint64_t sequence = 0;
    bool damaged = false;  // set aside by an earlier recovery
};
std::optional<IntentName> parse_intent_name(std::string_view name);

// None: the file does not hold a record of that name. An error: it could not be read.
Result<std::optional<Intent>> read_intent(int intents, const std::string& name);

// Renames a record that can't be used to NAME.damaged.
Result<void> set_intent_aside(int intents, const std::string& name);

}  // namespace plyfs
