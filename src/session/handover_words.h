// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a daemon and its successor say to each other, in this order:
//
//   daemon     kHeader  JSON, with the configuration (config::dump) in a file in memory
//   successor  kReady   the branches are open, and the same
//   daemon     kState   JSON, with the records (saved_records.h) and the device; then descriptors
//   successor  kTaken   it could go on at once
//   daemon     kGo      it does
//
// Instead of its words the successor may say what is wrong: any other text.
#pragma once

namespace plyfs::session {

inline constexpr char kReady[] = "ready";
inline constexpr char kTaken[] = "taken";
inline constexpr char kGo[] = "go";

}  // namespace plyfs::session
