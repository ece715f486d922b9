// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a daemon and its successor say to each other, in this order:
//
//   daemon              JSON, with the configuration (config::dump) in a file in memory; then
//                       descriptors of the branches
//   successor  kReady   the branches are open, and the same
//   daemon              JSON, with the records (saved_records.h) and the device; then descriptors
//   successor  kTaken   it could go on at once
//   daemon     kGo      it does
//
// Instead of its words the successor may say what is wrong: any other text. The daemon ends it
// then, or when it takes too long. The successor waits as long as the daemon is there; one that has
// ended after kTaken has said kGo.
#pragma once

namespace plyfs::session {

inline constexpr char kReady[] = "ready";
inline constexpr char kTaken[] = "taken";
inline constexpr char kGo[] = "go";

}  // namespace plyfs::session
