//! Names and groups of statuses.

use waybill_schema::UploadStatus;

#[test]
fn only_the_name_of_a_status_is_read_as_one() {
    for status in UploadStatus::ALL {
        assert_eq!(UploadStatus::try_from(status.as_str().to_owned()), Ok(*status));
    }
    assert!(UploadStatus::try_from("pending".to_owned()).is_err());
}

#[test]
fn an_upload_either_runs_or_has_ended() {
    assert_eq!([&UploadStatus::RUNNING[..], &UploadStatus::ENDED].concat(), UploadStatus::ALL);
}
