// SPDX-License-Identifier: Apache-2.0
// Checksums that lie beside a model's files, and whether the files have them. One of the checks of
// `verify`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mixtral::cli {

struct Checksum {
  std::string path;      // of the file
  std::string expected;  // SHA-256, 64 lower-case digits
  std::string source;    // what says so: a path
};

struct ChecksumResult {
  Checksum checksum;
  std::string found;    // empty: could not be read
  std::string problem;  // why; empty: it was read
  bool IsRight() const { return found == checksum.expected; }
};

/// "HEX  NAME" lines of a SHA256SUMS file. Throws Error{kCorrupt} naming path and line.
struct NamedSum {
  std::string name, hex;
};
std::vector<NamedSum> ParseSums(std::string_view text, const std::string& path);

/// What is known of the files of a model (a file with its parts, or a folder): SHA256SUMS beside
/// them, FILE.sha256, the metadata that Hugging Face's downloader leaves, and the names of its
/// cache's blobs. One entry a file and source; files that are not there are left out.
std::vector<Checksum> FindChecksums(const std::string& model_path);

/// Reads and compares, files side by side. on_bytes(done, total) comes from the calling thread.
/// cancel: ends early, what was not read has a problem then.
std::vector<ChecksumResult> CompareChecksums(
    const std::vector<Checksum>& checksums, int n_threads,
    const std::function<void(int64_t done, int64_t total)>& on_bytes,
    const std::atomic<bool>* cancel);

}  // namespace mixtral::cli
